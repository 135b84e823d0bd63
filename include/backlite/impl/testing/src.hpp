// SPDX-License-Identifier: MIT
#pragma once
// The bodies of what tests use, for a source file of its own: other programs do not link it.

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#error "backlite: define BACKLITE_SEPARATE_COMPILATION in all source files of the program, or in none"
#endif

#include <backlite/impl/testing/own_folder.ipp>
#include <backlite/impl/testing/stepped_session.ipp>
#include <backlite/impl/testing/test_client.ipp>
