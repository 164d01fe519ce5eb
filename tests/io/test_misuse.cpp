// Every public class and function of io called wrongly: the typed error, with a sentence that
// starts with the function or, where the fault lies in a file or text, with its name. What damaged
// files give is tested format by format beside this.
#include "helpers.h"
#include "misuse.h"

#include <loupe/autograd/ops.h>
#include <loupe/io/augment.h>
#include <loupe/io/checkpoint.h>
#include <loupe/io/cifar10.h>
#include <loupe/io/idx.h>
#include <loupe/io/inflate.h>
#include <loupe/io/json.h>
#include <loupe/io/keras.h>
#include <loupe/io/model_folder.h>
#include <loupe/io/model_graph.h>
#include <loupe/io/monitor.h>
#include <loupe/io/npy.h>
#include <loupe/io/onnx.h>
#include <loupe/io/png.h>
#include <loupe/io/tensorboard.h>
#include <loupe/io/text.h>
#include <loupe/io/wordpiece.h>
#include <loupe/layers/linear.h>

#include <cmath>

using namespace loupe;
using misuse::refuses;

namespace {

const Tensor none, f23 = zeros({2, 3}), scalar0 = scalar(1);
const double kNan = std::nan("");

ImageSet image_set() {
  ImageSet set;
  set.images = zeros({3, 1, 4, 4}, DType::u8);
  set.labels = zeros({3}, DType::i64);
  set.classes = {"a", "b"};
  set.mean = {0.5};
  set.std = {0.5};
  return set;
}

template <class F> ImageSet with(F change) {
  ImageSet set = image_set();
  change(set);
  return set;
}

}  // namespace

TEST_CASE("misuse: files that are not there, are folders, or cannot be written") {
  TempDir dir;
  const std::string missing = dir / "missing", folder = dir.path.string(),
                    inside = dir / "no/such/folder";
  for (const std::string& path : {missing, folder}) {
    refuses<IoError>(path, [&] { read_file(path); });
    refuses<IoError>(path, [&] { MappedFile map(path); });
    refuses<IoError>(path, [&] { sha256_of_file(path); });
    refuses<IoError>(path, [&] { read_idx(path); });
    refuses<IoError>(path, [&] { read_cifar10(path); });
    refuses<IoError>(path, [&] { load_npy(path); });
    refuses<IoError>(path, [&] { load_npz(path); });
    refuses<IoError>(path, [&] { load_safetensors(path); });
    refuses<IoError>(path, [&] { read_safetensors_header(path); });
    refuses<IoError>(path, [&] { read_text(path); });
    refuses<IoError>(path, [&] { read_words(path); });
    refuses<IoError>(path, [&] { checkpoint_options(path); });
  }
  refuses<IoError>(missing, [&] { WordPiece::load(missing); });
  refuses<IoError>(folder, [&] { WordPiece::load(folder); });
  refuses<IoError>(missing + "/train-images-idx3-ubyte.gz", [&] { load_images("mnist", missing); });
  refuses<ValueError>("load_images", [&] { load_images(""); });
  const auto cannot = [&](auto write) {
    const std::string error = error_of([&] { write(inside); });
    CAPTURE(error);
    CHECK(error.rfind(inside, 0) == 0);
    CHECK_THAT(error, Catch::Matchers::Contains("No such file or directory"));
  };
  cannot([](const std::string& p) { write_file(p, "x"); });
  cannot([](const std::string& p) { AtomicFile file(p); });
  cannot([](const std::string& p) { write_idx(p, {1}, as_bytes("x")); });
  cannot([](const std::string& p) { save_npy(p, f23); });
  cannot([](const std::string& p) { save_npz(p, {{"a", f23}}); });
  cannot([](const std::string& p) { save_safetensors(p, {{"a", f23}}); });
  cannot([](const std::string& p) { save_checkpoint(p, {}); });
  cannot([](const std::string& p) { write_png(p, as_bytes("x"), 1, 1, 1); });
  Rng rng(1);
  Linear linear(rng, 2, 2);
  cannot([&](const std::string& p) { save_model(p, linear); });
  refuses<IoError>(missing, [&] { load_model(missing, linear); });
  write_file(dir / "file", "x");
  refuses<IoError>(dir / "file/runs", [&] { EventWriter writer(dir / "file/runs"); });
  AtomicFile once(dir / "once");
  once.commit();
  refuses<IoError>(dir / "once", [&] { once.commit(); });
  refuses<IoError>(dir / "once", [&] { once.write("too late"); });
}

TEST_CASE("misuse: what cannot be written") {
  TempDir dir;
  const Bytes six = as_bytes("abcdef");
  for (const auto& shape : std::vector<std::vector<int64_t>>{
           {}, {5}, {-2, -3}, {int64_t{1} << 40}, {1, 1, 1, 1, 1, 1, 1, 1, 6}})
    refuses<ShapeError>("write_idx", [&] { write_idx(dir / "x", shape, six); });
  refuses<ValueError>("tensor", [&] { save_npy(dir / "x", none); });
  refuses<ValueError>("tensor", [&] { save_npz(dir / "x", {{"a", none}}); });
  for (const std::string& name : {std::string(), std::string("a\xff"), std::string(70000, 'x')})
    refuses<ValueError>("save_npz", [&] { save_npz(dir / "x", {{name, f23}}); });
  refuses<ValueError>("save_safetensors", [&] { save_safetensors(dir / "x", {{"a", none}}); });
  refuses<ValueError>("save_safetensors", [&] { encode_safetensors({{"a\xff", f23}}); });
  refuses<ValueError>("save_safetensors", [&] { encode_safetensors({{"__metadata__", f23}}); });
  refuses<ValueError>("save_safetensors", [&] {
    encode_safetensors({{"a", f23}}, {{"key", "\xff"}});
  });
  for (const int channels : {0, 2, 5, -1})
    refuses<ShapeError>("encode_png", [&] { encode_png(six, 2, 3, channels); });
  refuses<ShapeError>("encode_png", [&] { encode_png(six, 2, 2, 1); });
  refuses<ShapeError>("encode_png", [&] { encode_png(six, -2, -3, 1); });
  refuses<ShapeError>("encode_png", [&] { encode_png({}, 0, 3, 1); });
  refuses<ShapeError>("encode_png", [&] { write_png(dir / "x", six, int64_t{1} << 62, 4, 1); });
  CHECK(std::filesystem::is_empty(dir.path));  // nothing half written is left
}

TEST_CASE("misuse: data sets") {
  refuses<ValueError>("tensor", [] { ImageDataset(with([](ImageSet& s) { s.images = none; })); });
  refuses<ValueError>("tensor", [] { ImageDataset(with([](ImageSet& s) { s.labels = none; })); });
  refuses<ShapeError>("ImageDataset", [] {
    ImageDataset(with([](ImageSet& s) { s.images = zeros({3, 1, 4, 4}); }));
  });
  refuses<ShapeError>("ImageDataset", [] {
    ImageDataset(with([](ImageSet& s) { s.images = zeros({3, 4, 4}, DType::u8); }));
  });
  refuses<ShapeError>("ImageDataset", [] {
    ImageDataset(with([](ImageSet& s) { s.labels = zeros({2}, DType::i64); }));
  });
  refuses<ShapeError>("ImageDataset",
                      [] { ImageDataset(with([](ImageSet& s) { s.labels = zeros({3}); })); });
  refuses<ShapeError>("ImageDataset", [] { ImageDataset(with([](ImageSet& s) { s.mean = {}; })); });
  refuses<ShapeError>("ImageDataset", [] {
    ImageDataset(with([](ImageSet& s) { s.std = {1, 1}; }));
  });
  for (const double bad : {0.0, -1.0, kNan})
    refuses<ValueError>("ImageDataset",
                        [&] { ImageDataset(with([&](ImageSet& s) { s.std = {bad}; })); });
  refuses<ValueError>("ImageDataset",
                      [] { ImageDataset(with([](ImageSet& s) { s.mean = {kNan}; })); });
  // A label beyond the classes is named before it can reach a loss.
  refuses<IndexError>("ImageDataset", [] {
    ImageDataset(with([](ImageSet& s) { s.labels = from_data(std::vector<int64_t>{0, 1, 2}); }));
  });
  refuses<IndexError>("ImageDataset", [] {
    ImageDataset(with([](ImageSet& s) { s.labels = from_data(std::vector<int64_t>{0, -1, 1}); }));
  });
  const ImageSet set = image_set();
  for (const auto& [first, last] : {std::pair{-1, 2}, {2, 1}, {0, 4}})
    refuses<IndexError>("ImageSet::part", [&, f = first, l = last] { set.part(f, l); });

  refuses<ValueError>("tensor", [] { TensorDataset(none, f23); });
  refuses<ValueError>("tensor", [] { TensorDataset(f23, none); });
  refuses<ShapeError>("TensorDataset", [] { TensorDataset(f23, zeros({3})); });
  refuses<ShapeError>("TensorDataset", [] { TensorDataset(scalar0, scalar0); });
  refuses<ValueError>("TensorDataset", [] { TensorDataset(full({2}, kNan), zeros({2})); });

  const std::vector<int32_t> ids{1, 2, 3};
  refuses<ValueError>("TextDataset", [&] { TextDataset(ids, {.context = 0}); });
  refuses<ValueError>("TextDataset", [&] { TextDataset(ids, {.context = 1, .stride = 0}); });
  refuses<ValueError>("TextDataset", [&] { TextDataset(ids, {.context = 3}); });
  refuses<ValueError>("TextDataset", [&] { TextDataset(ids, {.context = INT64_MAX}); });
  refuses<ValueError>("TextDataset", [&] { TextDataset({}, {.context = 4, .pad_last = true}); });
  refuses<ValueError>("CountTask", [] { CountTask(1, 0); });
  refuses<ValueError>("CountTask", [] { CountTask(1, 5, 4, 3); });
  refuses<ValueError>("CountTask", [] { CountTask(1, 5, 4, INT64_MAX); });
  refuses<ValueError>("RandomBits", [] { RandomBits(1, -1, 4); });
  refuses<ValueError>("RandomBits", [] { RandomBits(1, 5, 0); });

  const auto outside = [](const char* name, const Dataset& data) {
    for (const int64_t i : {int64_t{-1}, data.size()})
      refuses<IndexError>(name, [&] { data.batch(std::span(&i, 1)); });
    CHECK(data.batch({}).size() == 0);
  };
  outside("ImageDataset::batch", ImageDataset(set));
  outside("TensorDataset::batch", TensorDataset(f23, f23));
  outside("TextDataset::batch", TextDataset(ids, {.context = 2}));
  outside("CountTask::batch", CountTask(1, 5));
  outside("RandomBits::batch", RandomBits(1, 5, 4));
  CHECK(pad_sequences({}, 0).x.shape() == Shape{0, 0});
  CHECK(pad_sequences({{}, {}}, 0).x.shape() == Shape{2, 0});

  Rng rng(1);
  const auto data = std::make_shared<const TensorDataset>(f23, f23);
  const auto augmented = [&](AugmentOptions options, const Tensor& x = zeros({2, 3, 4, 4})) {
    const int64_t first[] = {0};
    AugmentedDataset(TensorDataset(x, zeros({x.size(0)})), std::move(options))
        .batch(first, SampleStreams(1, 0));
  };
  refuses<ValueError>("AugmentedDataset",
                      [&] { AugmentedDataset(std::shared_ptr<const Dataset>(), {}); });
  refuses<ValueError>("AugmentedDataset", [&] { augmented({.crop_padding = -1}); });
  refuses<ValueError>("AugmentedDataset", [&] { augmented({.crop_padding = INT64_MAX}); });
  refuses<ValueError>("AugmentedDataset", [&] { augmented({.cutout = -1}); });
  for (const double p : {-0.1, 1.1, kNan})
    refuses<ValueError>("AugmentedDataset", [&] { augmented({.flip = p}); });
  refuses<ValueError>("AugmentedDataset", [&] { augmented({.fill = {kNan}}); });
  refuses<ValueError>("AugmentedDataset", [&] { augmented({.mean = {kNan}, .std = {1}}); });
  refuses<ValueError>("AugmentedDataset", [&] { augmented({.mean = {1}}); });
  for (const double std : {0.0, -1.0, kNan})
    refuses<ValueError>("AugmentedDataset", [&] { augmented({.mean = {1}, .std = {std}}); });
  refuses<ShapeError>("AugmentedDataset", [&] { augmented({.fill = {1, 2}}); });
  refuses<ShapeError>("AugmentedDataset", [&] { augmented({}, zeros({2, 4, 4})); });
  refuses<DtypeError>("AugmentedDataset", [&] { augmented({}, zeros({2, 1, 4, 4}, DType::u8)); });
  augmented({.cutout = 2}, zeros({2, 1, 0, 4}));  // nothing to change
  refuses<ShapeError>("test_views", [] { test_views(zeros({2, 4, 4}), {}); });
  refuses<ShapeError>("test_views", [] { test_views(zeros({2, 1, 4, 4}), {.fill = {1, 2}}); });
  refuses<DtypeError>("test_views", [] { test_views(zeros({2, 1, 4, 4}, DType::u8), {}); });
  refuses<ValueError>("DataLoader", [&] { DataLoader(std::shared_ptr<const Dataset>(), rng); });
  refuses<ValueError>("DataLoader", [&] { DataLoader(data, rng, {.batch_size = 0}); });
  refuses<ValueError>("DataLoader", [&] { DataLoader(data, rng, {.batch_size = -1}); });
  refuses<ValueError>("DataLoader", [&] { DataLoader(data, rng, {.prefetch = -1}); });
  refuses<ValueError>("DataLoader", [&] { DataLoader(data, rng, {.share = {2, 2}}); });
  refuses<ValueError>("DataLoader", [&] { DataLoader(data, rng, {.share = {0, 0}}); });
  refuses<ValueError>("DataLoader",
                      [&] { DataLoader(data, rng, {.batch_size = 3, .drop_last = true}); });
  refuses<ValueError>("DataLoader",
                      [&] { DataLoader(data, rng, {.shuffle = false, .replacement = true}); });
  refuses<ValueError>("DataLoader", [&] {
    DataLoader(std::make_shared<const TensorDataset>(zeros({0}), zeros({0})), rng);
  });
  DataLoader loader(data, rng, {.batch_size = INT64_MAX});
  CHECK(loader.batches() == 1);
  CHECK(loader.next()->size() == 2);
  for (const auto& [epoch, position] : {std::pair{-1, 0}, {0, -1}, {0, 2}})
    refuses<ValueError>("DataLoader::set_state", [&, e = epoch, p = position] {
      loader.set_state({{}, e, p});
    });
}

TEST_CASE("misuse: folders of models, tensors of files") {
  TempDir dir;
  const std::string folder = dir.path.string();
  refuses<IoError>(folder, [&] { load_model_folder(folder); });
  refuses<IoError>(dir / "missing", [&] { load_model_folder(dir / "missing"); });
  const std::string index = dir / "model.safetensors.index.json";
  for (const char* text : {"", "[]", "{}", "{\"weight_map\": {}}", "{\"weight_map\": {\"a\": 1}}",
                           "{\"weight_map\": {\"a\": \"b/c\"}}"}) {
    write_file(index, text);
    refuses<IoError>(index, [&] { load_model_folder(folder); });
  }
  write_file(index, "{\"weight_map\": {\"a\": \"b\"}}");
  refuses<IoError>(dir / "b", [&] { load_model_folder(folder); });
  FileTensors tensors;
  tensors.file = "f";
  refuses<IoError>("f", [&] { tensors.at("a"); });
  tensors.unread["b"] = "f: tensor 'b' has dtype C64";
  refuses<IoError>("f", [&] { tensors.at("b"); });
  CHECK(unread_text(tensors) == "; not read: f: tensor 'b' has dtype C64");
  CHECK(unread_text({}).empty());
  CHECK(std::isnan(float8_e4m3_to_float(0x7f)));
}

TEST_CASE("misuse: texts, vocabularies, tokenizers, JSON, streams") {
  refuses<IoError>("text", [] { CharVocab::of(""); });
  refuses<IoError>("text", [] { CharVocab::of("a\xff"); });
  refuses<IoError>("vocabulary", [] { CharVocab::from_characters(""); });
  refuses<IoError>("vocabulary", [] { CharVocab::from_characters("ba"); });
  const CharVocab vocab = CharVocab::of("abc"), nothing;
  refuses<IoError>("text", [&] { vocab.encode("abd"); });
  refuses<IoError>("text", [&] { nothing.encode("a"); });
  for (const int32_t id : {-1, 3})
    refuses<IndexError>("CharVocab::decode", [&] { vocab.decode(std::span(&id, 1)); });

  const std::string words = "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n";
  refuses<IoError>("v", [] { WordPiece::from_vocab("", "v"); });
  refuses<IoError>("v", [] { WordPiece::from_vocab("a\nb\n", "v"); });
  refuses<IoError>("v", [&] { WordPiece::from_vocab(words + "a\n", "v"); });
  refuses<IoError>("v", [&] { WordPiece::from_vocab(words, "v", {.max_chars_per_word = 0}); });
  refuses<IoError>("v", [&] { WordPiece::from_vocab(words, "v", {.unk_token = "?"}); });
  refuses<IoError>("j", [] { WordPiece::from_json("{}", "j"); });
  refuses<IoError>("j", [] { WordPiece::from_json("[", "j"); });
  const WordPiece w = WordPiece::from_vocab(words, "v");
  refuses<ValueError>("WordPiece::encode", [&] { w.encode("a", 1); });
  refuses<IoError>("text", [&] { w.encode("\xff"); });
  refuses<IoError>("text", [&] { w.tokenize("\xff"); });
  refuses<IndexError>("WordPiece::id", [&] { w.id("zebra"); });
  for (const int64_t id : {int64_t{-1}, int64_t{5}})
    refuses<IndexError>("WordPiece::token", [&] { w.token(id); });

  const auto json = [](const char* text, auto read) {
    refuses<IoError>("f", [&] {
      JsonReader r(text, "f");
      read(r);
    });
  };
  json("", [](JsonReader& r) { r.peek(); });
  json("1", [](JsonReader& r) { r.string(); });
  json("\"a\"", [](JsonReader& r) { r.number(); });
  json("1.5", [](JsonReader& r) { r.integer(); });
  json("1", [](JsonReader& r) { r.boolean(); });
  json("[]", [](JsonReader& r) { r.object([](const std::string&) {}); });
  json("{}", [](JsonReader& r) { r.array([] {}); });
  json("nul", [](JsonReader& r) { r.skip(); });
  json("1 2", [](JsonReader& r) { r.skip(), r.end(); });
  JsonReader present("null", "f");
  CHECK(present.null());
  CHECK(json_quote(std::string("\0", 1)) == "\"\\u0000\"");

  refuses<IoError>("f",
                   [] { Inflater({}, Inflater::Format::gzip, "f").read_exactly(1, "the data"); });
  refuses<IoError>("f", [] { Inflater(as_bytes("xyz"), Inflater::Format::raw, "f").expect_end(); });
  refuses<IoError>("f", [] {
    Inflater(as_bytes("xyz"), Inflater::Format::raw, "f").read_exactly(~uint64_t{0}, "the data");
  });
  CHECK_FALSE(is_gzip({}));
  ByteReader bytes(as_bytes("abc"), "f");
  refuses<IoError>("f", [&] { bytes.take(4, "a word"); });
  refuses<IoError>("f", [&] { bytes.big32("a word"); });
  refuses<IoError>("f", [&] { bytes.fail("said by the {}", "caller"); });
}

TEST_CASE("misuse: readers of bytes in memory") {
  const Bytes nothing, letters = as_bytes("abcdefgh");
  for (const Bytes b : {nothing, letters}) {
    refuses<IoError>("f", [&] { read_idx(b, "f"); });
    refuses<IoError>("f", [&] { read_cifar10(b, "f"); });
    refuses<IoError>("f", [&] { load_npy(b, "f"); });
    refuses<IoError>("f", [&] { load_npz(b, "f"); });
    refuses<IoError>("f", [&] { load_safetensors(b, nullptr, "f"); });
    refuses<IoError>("f", [&] { read_safetensors_header(b, "f"); });
  }
  CHECK(sha256(nothing).size() == 64);
  CHECK(crc32c(nothing) == 0);
  CHECK(std::isnan(half_to_float(0x7E00)));
  CHECK(std::isnan(bfloat16_to_float(0x7FC0)));
}

TEST_CASE("misuse: TensorBoard") {
  TempDir dir;
  EventWriter w(dir / "runs");
  refuses<ValueError>("tensor", [&] { w.histogram("h", none, 0); });
  refuses<ShapeError>("encode_png", [&] { w.image("i", as_bytes("abc"), 2, 2, 1, 0); });
  refuses<ShapeError>("EventWriter::image", [&] { w.image("i", zeros({2, 2}, DType::u8), 0); });
  refuses<DtypeError>("EventWriter::image", [&] { w.image("i", zeros({2, 2, 1}), 0); });
  for (const std::string& tag : {std::string(), std::string("a\xff")}) {
    refuses<ValueError>("EventWriter", [&] { w.scalar(tag, 1, 0); });
    refuses<ValueError>("EventWriter", [&] { w.histogram(tag, f23, 0); });
    refuses<ValueError>("EventWriter", [&] { w.text(tag, "text", 0); });
    refuses<ValueError>("EventWriter", [&] { w.image(tag, as_bytes("abcd"), 2, 2, 1, 0); });
  }
  refuses<ValueError>("EventWriter", [&] { w.text("t", "\xff", 0); });
  GraphNode nameless;
  nameless.op = "x";
  refuses<ValueError>("EventWriter", [&] { w.graph({nameless}); });
  w.scalar("s", kNan, 0);  // NaN is a value that TensorBoard shows
  w.flush();
  refuses<ValueError>("tensor", [] { model_graph(none); });

  Rng rng(1);
  Linear linear(rng, 3, 2);
  for (const Monitor::Options& bad :
       {Monitor::Options{.every = 0}, {.every = -1}, {.histograms_every = -1}})
    refuses<ValueError>("Monitor", [&] { Monitor monitor(w, linear, bad); });
  Monitor monitor(w, linear);
  refuses<ValueError>("tensor", [&] { monitor.forward(1, [] { return none; }); });
  refuses<ShapeError>("linear", [&] { monitor.forward(1, [&] { return linear(zeros({2, 4})); }); });
  CHECK_FALSE(linear.has_forward_hooks());
}

TEST_CASE("misuse: weights of Keras") {
  const auto keras = [](const std::string& name, const Tensor& t,
                        const std::map<std::string, Shape>& flattened = {}) {
    refuses<ValueError>("from_keras", [&] { from_keras({{name, t}}, flattened); });
  };
  keras("kernel", f23);
  keras("fc/strange", f23);
  keras("fc/kernel", scalar0);
  keras("fc/kernel", zeros({1, 1, 1, 1, 1}));
  keras("fc/kernel", f23, {{"fc", {2, 3}}});
  keras("fc/kernel", f23, {{"fc", {1, 1, 3}}});
  keras("fc/kernel", f23, {{"other", {1, 1, 2}}});
  keras("conv/kernel", zeros({3, 3, 1, 2}), {{"conv", {1, 3, 3}}});
  refuses<ValueError>("tensor", [] { from_keras({{"fc/kernel", none}}); });
  refuses<ValueError>("from_keras", [] { from_keras({{"a/b/bias", f23}, {"a.b/bias", f23}}); });
}

TEST_CASE("misuse: checkpoints") {
  TempDir dir;
  refuses<ValueError>("CheckpointFolder", [&] { CheckpointFolder(dir / "c", 0); });
  refuses<ValueError>("CheckpointFolder", [&] { CheckpointFolder(dir / "c", -1); });
  CheckpointFolder folder(dir / "c");
  TrainingState empty;
  refuses<ValueError>("CheckpointFolder", [&] { folder.save(empty, -1); });
  CHECK(folder.steps().empty());
  CHECK(state_hash(empty).size() == 64);
  CHECK_FALSE(folder.resume(empty).has_value());
  Rng rng(1);
  Linear a(rng, 2, 2), b(rng, 2, 2);
  TrainingState s{.model = &a, .numbers = {{"step", 1}}, .options = "o"};
  save_checkpoint(dir / "x", s);
  SGD sgd(a, {.lr = 0.1});
  for (const auto& [what, wrong] : std::map<std::string, TrainingState>{
           {"no model", {}},
           {"an optimizer", {.model = &b, .optimizer = &sgd}},
           {"a stream", {.model = &b, .streams = {{"s", &rng}}}}}) {
    INFO(what);
    TrainingState into = wrong;
    refuses<ValueError>(dir / "x", [&] { load_checkpoint(dir / "x", into); });
  }
  save_safetensors(dir / "model", {{"weight", f23}});
  refuses<IoError>(dir / "model", [&] { load_checkpoint(dir / "model", s); });
  refuses<IoError>(dir / "model", [&] { checkpoint_options(dir / "model"); });
  refuses<ValueError>("save_safetensors", [&] {
    TrainingState bad{.model = &a, .options = "\xff"};
    save_checkpoint(dir / "y", bad);
  });
  CHECK_FALSE(std::filesystem::exists(dir / "y"));
}

TEST_CASE("misuse of ONNX export") {
  Rng rng(1);
  Linear layer(rng, 3, 2);
  const TempDir dir;
  const std::string path = dir / "m.onnx";
  const OnnxForward forward = [&](const Tensors& x) { return Tensors{layer(x[0])}; };
  refuses<ValueError>("save_onnx", [&] { save_onnx(layer, {}, forward, path); });
  refuses<ValueError>("save_onnx", [&] { save_onnx(layer, none, path); });
  refuses<ValueError>("save_onnx", [&] { save_onnx(layer, scalar0, path); });
  refuses<ValueError>("save_onnx", [&] { save_onnx(layer, zeros({0, 3}), path); });
  refuses<ValueError>("save_onnx", [&] { save_onnx(layer, {{"x", f23}}, OnnxForward(), path); });
  refuses<ValueError>("save_onnx", [&] { save_onnx(layer, f23, path, {.input = ""}); });
  refuses<ValueError>("save_onnx", [&] { save_onnx(layer, f23, path, {.input = "weight"}); });
  refuses<ValueError>("save_onnx", [&] { save_onnx(layer, f23, path, {.outputs = {"input"}}); });
  refuses<ValueError>("save_onnx", [&] { save_onnx(layer, f23, path, {.outputs = {"a", "b"}}); });
  refuses<ShapeError>("save_onnx", [&] {
    save_onnx(layer, {{"x", f23}, {"y", zeros({3, 3})}}, forward, path);
  });
  refuses<ShapeError>("linear", [&] { save_onnx(layer, zeros({2, 5}), path); });
  CHECK_THROWS_AS(save_onnx(layer, f23, dir / "no/m.onnx"), IoError);
  CHECK_FALSE(std::filesystem::exists(path));
}
