// expect: something that nobody says
// SPDX-License-Identifier: MIT
int main() {}
