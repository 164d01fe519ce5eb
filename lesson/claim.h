#pragma once
// A claim as data: its arms (members, made by its constructor), its runs, the questions that its
// lines answer, its charts and tables. Its words stand in a text file of its own (story.h).
#include <loupe/core/pinned.h>
#include <loupe/lesson/report.h>
#include <loupe/lesson/story.h>

#include <memory>
#include <string>
#include <vector>

namespace loupe::lesson {

class Lab;

class Claim : Pinned {
 public:
  virtual ~Claim() = default;
  /// Chooses learning rates and measures the arms over the lab's seeds.
  virtual void run(Lab& lab) = 0;
  /// What is asked of the arms. Known before the runs.
  virtual std::vector<Question> questions() const = 0;
  /// Names of its own for the story: rates, sizes, flags.
  virtual void facts(Facts& facts) const = 0;
  virtual std::vector<view::Chart> charts() const { return {}; }
  virtual std::vector<view::Heatmap> maps() const { return {}; }
  virtual std::vector<view::Table> tables() const { return {}; }
};

/// Of part 1 "C1" ... "C12", of part 2 (rivals and successors of the two norms) "P1" ... "P21".
/// ValueError for another part.
std::vector<std::string> claim_ids(int part = 1);
/// A claim with its arms, nothing run. ValueError for an unknown id.
std::unique_ptr<Claim> make_claim(const std::string& id, Lab& lab);
/// The claim run, answered and told.
ClaimResult result_of(const std::string& id, Lab& lab);
/// Fills the claim's texts from its lines. Called again where a word did not stand (correct): what
/// is not decided must not be told as if it were.
void tell(ClaimResult& claim);

}  // namespace loupe::lesson
