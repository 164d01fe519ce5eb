#pragma once
// The config.json that Transformers writes beside a model's weights.
#include <loupe/cli/console.h>

#include <initializer_list>
#include <string_view>

namespace loupe::cli {

/// IoError for a member that is neither among `known` nor one of those that change no output of any
/// model (names, ids of special tokens, dropout, what generates texts): it might change it.
void refuse_unknown_members(const Json& config, const std::string& name,
                            std::initializer_list<std::string_view> known);
/// A member that must be `only`, where it is there and not null.
void expect_flag(const Json& config, const std::string& name, const std::string& key, bool only);
void expect_text(const Json& config, const std::string& name, const std::string& key,
                 std::initializer_list<std::string_view> only);
/// "architectures": each must begin with `family`.
void expect_architecture(const Json& config, const std::string& name, std::string_view family);
/// A size from 1 to 2^31 - 1; `otherwise` where it is missing and that is above 0.
int64_t size_member(const Json& config, const std::string& name, const std::string& key,
                    int64_t otherwise = 0);

}  // namespace loupe::cli
