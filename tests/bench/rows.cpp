// SPDX-License-Identifier: MIT
#include "rows.hpp"

namespace bench {

std::vector<Row> all_rows() {
    std::vector<Row> rows;
    append_add_rows(rows);
    append_drain_rows(rows);
    append_settings_rows(rows);
    append_latency_rows(rows);
    append_load_rows(rows);
    append_beside_rows(rows);
    append_flat_rows(rows);
    append_dashboard_rows(rows);
    append_flow_rows(rows);
    append_idle_rows(rows);
    append_compile_rows(rows);
    return rows;
}

}  // namespace bench
