#pragma once
// The command `loupe lesson`.

namespace CLI {
class App;
}

namespace loupe::cli {

/// Adds the subcommand. Parsing runs it if it was chosen: the table on stdout (or JSON lines with --json), progress on
/// stderr; `exit_code` becomes 0, or 130 after Ctrl-C.
void add_lesson(CLI::App& program, int& exit_code);

}  // namespace loupe::cli
