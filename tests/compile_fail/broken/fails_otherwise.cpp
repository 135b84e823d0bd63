// expect: something that nobody says
// SPDX-License-Identifier: MIT
int main() { return nothing; }  // the compiler quotes this line: something that nobody says
