// `loupe explain`: a layer by numbers.
#include <loupe/cli/commands.h>
#include <loupe/cli/console.h>
#include <loupe/core/error.h>
#include <loupe/io/file.h>
#include <loupe/view/explain.h>

#include <charconv>
#include <cstdio>

namespace loupe::cli {
namespace {

double number(std::string_view word, int64_t row) {
  double value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size())
    fail<ValueError>("explain: \"{}\" in row {} of --input is not a number", word, row);
  return value;
}

std::vector<double> numbers(std::string_view row, int64_t index) {
  std::vector<double> out;
  constexpr std::string_view kBetween = " ,\t\n";
  for (size_t at = row.find_first_not_of(kBetween); at != row.npos;
       at = row.find_first_not_of(kBetween, at)) {
    const size_t end = std::min(row.find_first_of(kBetween, at), row.size());
    out.push_back(number(row.substr(at, end - at), index));
    at = end;
  }
  return out;
}

// "1 2 6; 3 0 3": rows of numbers.
Tensor matrix(const std::string& text) {
  std::vector<double> values;
  int64_t rows = 0, columns = 0;
  for (size_t at = 0; at <= text.size(); ++rows) {
    const size_t end = std::min(text.find(';', at), text.size());
    const std::vector<double> row = numbers(std::string_view(text).substr(at, end - at), rows);
    if (rows > 0 && static_cast<int64_t>(row.size()) != columns)
      fail<ValueError>("explain: row {} of --input has {} numbers, row 0 has {}", rows, row.size(),
                       columns);
    columns = static_cast<int64_t>(row.size());
    values.insert(values.end(), row.begin(), row.end());
    at = end + 1;
  }
  if (columns == 0) fail<ValueError>("explain: --input holds no number");
  return from_data(values, Shape{rows, columns});
}

}  // namespace

int explain_layer(const ExplainLayerOptions& o) {
  ExplainOptions options{.row = o.row, .column = o.column};
  if (!o.input.empty()) options.input = matrix(o.input);
  const Document document = explain(o.layer, options);
  if (o.html.empty()) {
    std::fputs(document.to_text().c_str(), stdout);
    return 0;
  }
  write_file(o.html, document.to_html());
  std::printf("written to %s\n", o.html.c_str());
  return 0;
}

}  // namespace loupe::cli
