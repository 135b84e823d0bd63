// SPDX-License-Identifier: MIT
#include "help.hpp"

#include <array>

#include <fmt/format.h>

namespace tool {
namespace {

struct Command {
    std::string_view name;
    std::string_view operands;
    std::string_view does;
    std::string_view more;
};

constexpr std::string_view filter_text =
    "Which tasks:\n"
    "  -q, --queue NAME    of this queue\n"
    "  -s, --state STATE   waiting, scheduled, retrying, held, running, succeeded, failed, cancelled, expired\n"
    "  -t, --text TEXT     with this in error, payload or id, whatever the case\n"
    "      --tag TAG       with this tag\n"
    "      --id START      whose id begins so\n"
    "      --since TIME    finished, or due, then or later: 2026-11-30T06:15:00 (UTC), or 2h for two hours ago\n"
    "      --until TIME    the same: then or earlier\n";

constexpr std::string_view action_text =
    "      --all           really all tasks, without any of the above\n"
    "  -y, --yes           do not ask\n";

constexpr std::array<Command, 16> commands{{
    {"ls", "FILE", "lists tasks, the latest first",
     "      -n, --limit N       so many, 50 unless given\n"
     "          --after TOKEN   goes on where the last list ended\n"
     "TIME is when a task ended, or else when it is due. `backlite show` says more of one.\n"
     "Examples:\n"
     "  backlite ls app.db --state failed --since 2h\n"
     "  backlite ls app.db -q send_email -t 'connection refused' --json\n"},
    {"show", "FILE ID...", "shows all that is known of a task, and why it does not run",
     "Example:\n  backlite show app.db 018f2b4c-0000-7000-8000-000000000001\n"},
    {"queues", "FILE", "lists the queues: what waits and runs, and why tasks that are due do not run",
     "Example:\n  backlite queues app.db\n"},
    {"stats", "FILE", "sums up the file: tasks, clients, sizes", "Example:\n  backlite stats app.db --json\n"},
    {"retry", "FILE [ID...]", "runs tasks again that failed (with --state: that were cancelled or have expired)",
     "Examples:\n"
     "  backlite retry app.db 018f2b4c-0000-7000-8000-000000000001\n"
     "  backlite retry app.db -q send_email -t 'connection refused'\n"
     "Tasks whose payload was not kept are skipped: see RetainData.\n"},
    {"cancel", "FILE [ID...]", "ends tasks before their time; those that run are asked to stop",
     "Examples:\n  backlite cancel app.db 018f2b4c-0000-7000-8000-000000000001\n"
     "  backlite cancel app.db -q report --state scheduled --yes\n"},
    {"remove", "FILE [ID...]", "deletes tasks, finished or waiting; those that run stay",
     "Example:\n  backlite remove app.db -q report --state failed\n"},
    {"run-now", "FILE [ID...]", "makes tasks due that wait for a later time",
     "Example:\n  backlite run-now app.db -q report --state retrying\n"},
    {"prioritize", "FILE [ID...] --priority N", "gives unfinished tasks another priority, higher first",
     "Example:\n  backlite prioritize app.db -q report --priority 10\n"},
    {"signal", "FILE ID NAME JSON", "sends a value to a flow, which waits for it or reads it later",
     "Examples:\n"
     "  backlite signal app.db 018f2b4c-0000-7000-8000-000000000001 packed true\n"
     "  backlite signal app.db 018f2b4c-0000-7000-8000-000000000001 answer '\"yes\"'\n"},
    {"pause", "FILE QUEUE...", "stops queues: what runs goes on, nothing else starts",
     "Example:\n  backlite pause app.db send_email\n"},
    {"resume", "FILE QUEUE...", "ends a pause", "Example:\n  backlite resume app.db send_email\n"},
    {"purge", "FILE", "deletes finished tasks, and gives the room back to the disk",
     "Examples:\n  backlite purge app.db --until 30d\n  backlite purge app.db -q report --state succeeded --yes\n"},
    {"schedules", "FILE", "lists what is added at fixed times", "Example:\n  backlite schedules app.db\n"},
    {"doctor", "FILE", "says what is wrong with a file",
     "It looks at the place of the file, its tables, its log, its clients and its clock, and through all its pages.\n"
     "Example:\n  backlite doctor app.db\n"},
    {"completion", "bash|zsh", "prints a script that completes commands and options",
     "Example:\n  source <(backlite completion bash)\n"},
}};

}  // namespace

bool has_filter(std::string_view name) noexcept {
    return name == "ls" || name == "retry" || name == "cancel" || name == "remove" || name == "run-now" ||
           name == "prioritize" || name == "purge";
}

bool is_command(std::string_view name) noexcept {
    for (const Command& command : commands) {
        if (command.name == name) return true;
    }
    return false;
}

std::string help(std::string_view name) {
    for (const Command& command : commands) {
        if (command.name != name) continue;
        std::string text = fmt::format("usage: backlite {} {}\n\n{}.\n\n", name, command.operands, command.does);
        text[text.find("\n\n") + 2] = static_cast<char>(text[text.find("\n\n") + 2] - 'a' + 'A');
        if (has_filter(name)) text += filter_text;
        if (has_filter(name) && name != "ls") text += action_text;
        if (name != "completion")
            text += "      --json, --plain  for programs: JSON, or lines of fields parted by tabs\n";
        return text + std::string{command.more};
    }
    std::string text =
        "usage: backlite COMMAND FILE [OPTION...]\n\nLooks at a database file of backlite, also while "
        "programs use it, and changes its tasks.\n\n";
    for (const Command& command : commands) {
        text += fmt::format("  {:<11} {:<26} {}\n", command.name, command.operands, command.does);
    }
    return text +
           "\n`backlite COMMAND --help` says more, with examples.\n\n"
           "To begin with:\n"
           "  backlite doctor app.db                        is the file sound?\n"
           "  backlite queues app.db                        what waits, and why does nothing run?\n"
           "  backlite ls app.db --state failed             what failed?\n"
           "  backlite show app.db ID                       why?\n"
           "  backlite retry app.db -t 'timed out'          run again what failed with this message\n"
           "  backlite pause app.db send_email              stop a queue; resume lets it go on\n"
           "  backlite cancel app.db ID                     end one task\n"
           "  backlite purge app.db --until 30d             free the disk\n\n"
           "Ends with 0 if it did what it was asked, 1 if it found nothing or doctor found faults, 2 if it did not\n"
           "understand, 3 if the file cannot be used, 4 if you said no.\n";
}

std::string completion(std::string_view shell) {
    if (shell != "bash" && shell != "zsh") return {};
    std::string names;
    for (const Command& command : commands) names += fmt::format("{}{}", names.empty() ? "" : " ", command.name);
    std::string script;
    if (shell == "zsh") script = "autoload -U +X bashcompinit && bashcompinit\n";
    return script +
           fmt::format(
               "_backlite() {{\n"
               "    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}\n"
               "    case $before in\n"
               "        --state | -s) COMPREPLY=($(compgen -W 'waiting scheduled retrying held running succeeded "
               "failed "
               "cancelled expired' -- \"$word\")); return ;;\n"
               "    esac\n"
               "    if [ \"$COMP_CWORD\" = 1 ]; then COMPREPLY=($(compgen -W '{}' -- \"$word\")); return; fi\n"
               "    case $word in\n"
               "        -*) COMPREPLY=($(compgen -W '--queue --state --text --tag --id --since --until --all --limit "
               "--after --priority --json --plain --yes --help' -- \"$word\")) ;;\n"
               "        *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
               "    esac\n"
               "}}\n"
               "complete -o filenames -F _backlite backlite\n",
               names);
}

}  // namespace tool
