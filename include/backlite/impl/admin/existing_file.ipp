// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/admin/existing_file.hpp>.

#include <backlite/admin/existing_file.hpp>
#include <backlite/base/format.hpp>
#include <backlite/store/sqlite/database_file.hpp>
#include <backlite/store/sqlite/schema.hpp>
#include <backlite/store/sqlite/views/read_connection.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace admin {

BACKLITE_DECL ClientConfig for_existing_file(ClientConfig config) {
    config.database = store::sqlite::lasting_name(config.database);
    config.auto_install = false;
    const std::string& file = config.database;
    DatabaseView view(file, config.open, config.busy_timeout);
    look_at(view, [&](Queries& queries) {
        if (queries.shape.schema_version < store::sqlite::Schema::current) {
            throw StorageError(
                detail::format("it has tables of version {}, and Admin needs version {}: a client brings "
                               "it up to date when it opens it",
                               {queries.shape.schema_version, store::sqlite::Schema::current}),
                store::sqlite::no_such_table);
        }
        store::sqlite::Schema::check_writer(queries.queues.handle(), file);
    });
    if (!config.open) config.open = store::sqlite::opener_of_existing(file);
    return config;
}

BACKLITE_DECL void throw_named(const std::string& file, const FileError& error) {
    const int code = store::sqlite::code_of(error.kind());
    store::sqlite::throw_with_text(code, detail::format("database \"{}\": {}", {file, error.what()}), Added::no);
}

BACKLITE_DECL void throw_named(const std::string& file, const StorageError& error) {
    store::sqlite::throw_with_text(error.extended_code(), detail::format("database \"{}\": {}", {file, error.what()}),
                                   Added::no);
}

}  // namespace admin
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
