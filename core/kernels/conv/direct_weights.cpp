// The weight gradient of a direct convolution: for each tap, the transpose of the input's pixels
// times the pixels of dy, over all pixels of a row.
#include <loupe/core/kernels/conv/lattice.h>
#include <loupe/core/kernels/conv/padded_rows.h>
#include <loupe/core/kernels/conv/fast.h>
#include <loupe/core/kernels/micro/micro.h>
#include <loupe/core/memory.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <vector>

namespace loupe::kernels {
namespace {

class DirectWeights {
 public:
  explicit DirectWeights(const ConvWeightGradient<float>& call)
      : call_(call), partials_(sums_ * size_) {}

  void run() const {
    parallel_pieces(sums_, [&](int64_t sum) { add_images(sum); });
    add_weight_sums(s_, {partials_, sums_, size_}, call_.dw);
  }

 private:
  // Some rows of dy of one image.
  struct Rows {
    int64_t image, begin, count;
  };
  // A partial sum and the room that its images share.
  struct Work {
    float* partial;
    const Scratch<float>& padded;
    const Scratch<float>& dy;
    std::vector<int64_t> segments;
  };

  // The sum's images, band by band.
  void add_images(int64_t sum) const {
    float* partial = partials_ + sum * size_;
    std::fill_n(partial, size_, 0.0f);
    const int64_t most_rows = ceil_div(oh_, bands_);
    const Scratch<float> own(((most_rows - 1) * s_.sh + kernel_rows_) * line_);
    const Scratch<float> own_dy(copies_dy_ ? most_rows * ow_ * wide_ : 0);
    Work work{partial, own, own_dy, {}};
    for (int64_t image = s_.n * sum / sums_; image < s_.n * (sum + 1) / sums_; ++image)
      for (int64_t band = 0; band < bands_; ++band) {
        const int64_t begin = oh_ * band / bands_;
        add_band({image, begin, oh_ * (band + 1) / bands_ - begin}, work);
      }
  }

  void add_band(const Rows& rows, Work& work) const {
    const int64_t first = rows.begin * s_.sh - s_.ph;
    const int64_t last = first + (rows.count - 1) * s_.sh + kernel_rows_;
    const float* image = call_.x + rows.image * s_.h * s_.w * s_.c;
    const float* in = padded_.view(image, s_.h, first, last, work.padded);
    work.segments.clear();
    for (int64_t i = 0; i < rows.count; ++i) work.segments.push_back(i * s_.sh * line_);
    for (int64_t g = 0; g < s_.groups; ++g) add_group(rows, g, in, work);
  }

  // A row of dy is a segment: its pixels are the terms of the product.
  void add_group(const Rows& rows, int64_t g, const float* in, const Work& work) const {
    const float* dy = call_.dy + (rows.image * oh_ + rows.begin) * ow_ * s_.o + g * og_;
    if (copies_dy_) copy_dy(rows.count * ow_, dy, work.dy);
    Product product{.m = joined_ * cg_,
                    .n = og_,
                    .k = ow_,
                    .a_row = 1,
                    .a_term = s_.sw * s_.c,
                    .b = copies_dy_ ? work.dy.data() : dy,
                    .b_term = copies_dy_ ? wide_ : s_.o,
                    .b_panel = mu_.panel,
                    .c_row = s_.o,
                    .accumulate = true,
                    .segments = rows.count,
                    .a_segments = work.segments.data()};
    for (int64_t t = 0; t < s_.taps(); t += joined_) {
      const int64_t row = t / s_.kw * s_.dh, column = t % s_.kw * s_.dw;
      product.a = in + row * line_ + column * s_.c + g * cg_;
      product.c = work.partial + t * cg_ * s_.o + g * og_;
      mu_.product(product);
    }
  }

  // Pixels of dy with room behind them: the product reads whole vectors.
  void copy_dy(int64_t pixels, const float* dy, float* to) const {
    for (int64_t i = 0; i < pixels; ++i) {
      std::copy_n(dy + i * s_.o, og_, to + i * wide_);
      std::fill_n(to + i * wide_ + og_, wide_ - og_, 0.0f);
    }
  }

  PaddedRows padding() const {
    const int64_t seen =
        (ow_ - 1) * s_.sw + (s_.kw - 1) * s_.dw + 1;  // columns that dy's row meets
    return {s_.pw, std::max<int64_t>(0, seen - s_.pw - s_.w), s_.c, s_.w};
  }

  const ConvWeightGradient<float>& call_;
  const ConvShape& s_ = call_.shape;
  const Micro& mu_ = micro();
  const int64_t cg_ = s_.c / s_.groups, og_ = s_.o / s_.groups;  // channels of a group
  const int64_t oh_ = s_.oh(), ow_ = s_.ow();
  const int64_t sums_ = std::min(s_.n, kPartialSums);
  const int64_t size_ = round_up(s_.taps() * cg_ * s_.o, 16);
  const PaddedRows padded_ = padding();
  const int64_t line_ = padded_.line();
  const int64_t kernel_rows_ = (s_.kh - 1) * s_.dh + 1;
  // Only so that a band stays in L2: the pieces are the sums.
  const int64_t bands_ = bands(16, oh_, (s_.h + 2 * s_.ph) * line_);
  const int64_t wide_ = round_up(og_, mu_.lanes);
  const bool copies_dy_ = wide_ != og_;
  // Columns of the kernel that follow each other in memory.
  const int64_t joined_ = s_.dw == 1 && s_.groups == 1 ? s_.kw : 1;
  const Scratch<float> partials_;
};

}  // namespace

void direct_weight_gradient(const ConvWeightGradient<float>& call) { DirectWeights(call).run(); }

}  // namespace loupe::kernels
