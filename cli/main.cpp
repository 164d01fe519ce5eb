// The command line: CLI11 fills the option structs of commands.h.
#include <loupe/cli/arguments.h>
#include <loupe/cli/commands.h>
#include <loupe/cli/console.h>
#include <loupe/core/blas.h>
#include <loupe/core/cpu.h>
#include <loupe/core/error.h>
#include <loupe/core/threads.h>
#include <loupe/core/version.h>
#include <loupe/distributed/communicator.h>

#include <CLI/CLI.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <sstream>

using namespace loupe::cli;

namespace {

int g_exit = 0;

// A subcommand whose options live as long as the program runs.
template <class Options>
CLI::App* command(CLI::App& app, const std::string& name, const std::string& text,
                  int (*run)(const Options&),
                  const std::function<void(CLI::App&, Options&)>& bind) {
  CLI::App* sub = app.add_subcommand(name, text);
  auto options = std::make_shared<Options>();
  bind(*sub, *options);
  sub->callback([options, run] { g_exit = run(*options); });
  return sub;
}

CLI::Validator number(const NumberRange& range) {
  return CLI::Validator([range](const std::string& text) { return number_fault(text, range); },
                        range.text());
}
CLI::Validator above_zero() { return number({.with_low = false}); }

CLI::Validator whole(int64_t low, int64_t high = INT64_MAX) {
  const WholeRange range{low, high};
  return CLI::Validator([range](const std::string& text) { return whole_fault(text, range); },
                        range.text());
}

// What is typed as nothing would be taken for "not given".
CLI::Validator not_empty() {
  return CLI::Validator(
      [](const std::string& text) { return std::string(text.empty() ? "is empty" : ""); }, "");
}

void bind_output(CLI::App& c, RunOptions& o) {
  c.add_option("--seed", o.seed, "decides every random number of the run")
      ->capture_default_str()
      ->check(CLI::Validator([](const std::string& text) { return seed_fault(text); }, ""));
  c.add_option(
       "--threads", o.threads,
       "threads; 0: all cores, under mpirun the node's over its processes. The numbers do not "
       "depend on it")
      ->capture_default_str()
      ->check(whole(0, 256));
  c.add_option("--out", o.out,
               "folder for model.safetensors, options.json, metrics.jsonl, checkpoints/")
      ->check(not_empty());
  c.add_flag("--json", o.json, "one JSON object a line on stdout, text on stderr");
}

void bind_training(CLI::App& c, TrainOptions& o, const char* epochs, const char* batch,
                   const char* lr, const char* decay, const char* init) {
  bind_output(c, o);
  c.add_option("--epochs", o.epochs, std::string("passes over the data") + epochs)->check(whole(1));
  c.add_option("--steps", o.steps, "optimizer steps; the first limit reached ends the run")
      ->check(whole(1));
  c.add_option("--batch-size", o.batch_size, std::string("samples of one step") + batch)
      ->check(whole(1));
  c.add_option("--lr", o.lr, std::string("largest learning rate") + lr)->check(above_zero());
  c.add_option("--optimizer", o.optimizer, "sgd (momentum 0.9), adam, adamw, rmsprop")
      ->capture_default_str()
      ->check(CLI::IsMember({"sgd", "adam", "adamw", "rmsprop"}));
  c.add_option("--weight-decay", o.weight_decay,
               "on weights, not on biases and norms" + std::string(decay))
      ->check(number({}));
  c.add_option("--schedule", o.schedule,
               "of the learning rate: constant, cosine (with warm-up), one-cycle")
      ->check(CLI::IsMember({"constant", "cosine", "one-cycle"}));
  c.add_option("--clip", o.clip, "largest norm of all gradients together; 0: no clipping")
      ->capture_default_str()
      ->check(number({}));
  c.add_option("--timeout", o.timeout,
               "under mpirun: seconds to wait for a process that does not go on")
      ->capture_default_str()
      ->check(above_zero());
  c.add_flag("--sync-norm", o.sync_norm,
             "under mpirun: BatchNorm over the batch of all processes, as one process has it");
  c.add_option("--init-from", o.init_from,
               std::string("safetensors file with the weights to start from") + init)
      ->check(CLI::ExistingPath);
  c.add_option("--checkpoint-every", o.checkpoint_every,
               "steps between checkpoints; 0: each epoch or tenth of the run")
      ->capture_default_str()
      ->check(whole(0));
  c.add_option("--keep", o.keep, "how many checkpoints stay beside the best")
      ->capture_default_str()
      ->check(whole(1, INT32_MAX));
  c.add_flag("--resume", o.resume, "go on from the newest whole checkpoint under --out");
  c.add_option("--logdir", o.logdir,
               "folder for TensorBoard's event files: the run, and what every layer does")
      ->check(not_empty());
  c.add_option("--log-every", o.log_every,
               "steps between what the layers do; four times that between histograms")
      ->capture_default_str()
      ->check(whole(1, INT64_MAX / 4));
  c.add_option("--shadow", o.shadow,
               "compute every op of so many first steps again in f64 and compare (slow)")
      ->capture_default_str()
      ->check(whole(0));
  c.add_flag("--anomaly", o.anomaly,
             "stop at the first NaN or Inf with op, layer and source line (slow)");
  c.add_option("--profile", o.profile,
               "measure steps 6 to 25: print the time by op and layer, and write a trace for "
               "ui.perfetto.dev to this file")
      ->check(not_empty());
}

void bind_train_cnn(CLI::App& c, TrainCnnOptions& o) {
  c.add_option("--dataset", o.dataset, "fashion-mnist, mnist, cifar10")
      ->capture_default_str()
      ->check(CLI::IsMember({"fashion-mnist", "mnist", "cifar10"}));
  c.add_option("--data", o.data, "folder of the data set's files [the Debian package's]")
      ->check(not_empty());
  c.add_option("--model", o.model, "small, wide, resnet20")
      ->capture_default_str()
      ->check(CLI::IsMember({"small", "wide", "resnet20"}));
  c.add_option("--norm", o.norm, "batch, layer, group, none")
      ->capture_default_str()
      ->check(CLI::IsMember({"batch", "layer", "group", "none"}));
  c.add_flag("--augment", o.augment, "crop and flip the training images at random");
  c.add_option("--label-smoothing", o.label_smoothing,
               "share of the target spread over all classes")
      ->capture_default_str()
      ->check(number({0, 0.9}));
  c.add_option("--validation", o.validation,
               "hold out so many last training images and report on them instead of the test data")
      ->capture_default_str()
      ->check(whole(0));
  bind_training(c, o, " [10; with --augment 30]", " [64]", " [0.003]", " [0.01]", "");
}

void bind_train_gpt(CLI::App& c, TrainGptOptions& o) {
  c.add_option("--text", o.text, "UTF-8 text to learn [Debian's word list, shuffled]")
      ->check(not_empty());
  c.add_option("--norm", o.norm, "layer, batch, rms, none")
      ->capture_default_str()
      ->check(CLI::IsMember({"layer", "batch", "rms", "none"}));
  c.add_option("--layers", o.layers, "blocks [4]")->check(whole(1));
  c.add_option("--heads", o.heads, "attention heads of a block [4]")->check(whole(1));
  c.add_option("--width", o.width, "features of a token [128]")->check(whole(1));
  c.add_option("--context", o.context, "tokens the model sees [64]")->check(whole(1));
  c.add_option("--dropout", o.dropout, "probability")
      ->capture_default_str()
      ->check(number({0, 0.99}));
  c.add_option("--validation", o.validation,
               "share of the text, at its end, that is not trained on")
      ->capture_default_str()
      ->check(number({0.001, 0.9}));
  bind_training(c, o, "", " [12]", " [0.004]", " [0.1]",
                ", or a folder with config.json and model.safetensors of Transformers' GPT-2");
}

std::string version() {
  return "loupe " + std::string(loupe::kVersion) + ", instruction set " +
         loupe::name(loupe::cpu_level()) + ", " + loupe::blas::description() +
         "\nMPI: " + loupe::mpi_description();
}

void bind_commands(CLI::App& app) {
  app.require_subcommand(1);
  app.set_version_flag("--version", version);
  app.set_help_all_flag("--help-all", "help of all commands");

  CLI::App* train = app.add_subcommand("train", "train a network");
  train->require_subcommand(1);
  command<TrainCnnOptions>(*train, "cnn", "a CNN on images; reports test accuracy", train_cnn,
                           bind_train_cnn);
  command<TrainGptOptions>(*train, "gpt", "a character-level GPT on text; reports validation loss",
                           train_gpt, bind_train_gpt);
  command<EvalOptions>(
      app, "eval", "evaluate a finished training run", eval, [](CLI::App& c, EvalOptions& o) {
        c.add_option("run", o.run, "the run's --out folder")
            ->required()
            ->check(CLI::ExistingDirectory);
        c.add_option("--data", o.data, "folder of the data set's files [as in training]");
        c.add_option("--text", o.text, "another text [as in training]");
        bind_output(c, o);
      });
  command<SampleOptions>(
      app, "sample", "let a trained GPT write", sample, [](CLI::App& c, SampleOptions& o) {
        c.add_option("run", o.run, "the run's --out folder")
            ->required()
            ->check(CLI::ExistingDirectory);
        c.add_option("--prompt", o.prompt,
                     "text to go on from [a line break, or the model's first character]")
            ->check(not_empty());
        c.add_option("--length", o.length, "characters to write")
            ->capture_default_str()
            ->check(whole(1));
        c.add_option("--temperature", o.temperature, "0: always the likeliest character")
            ->capture_default_str()
            ->check(number({}));
        c.add_option("--top-k", o.top_k, "choose among the k likeliest; 0: among all")
            ->capture_default_str()
            ->check(whole(0));
        bind_output(c, o);
      });
  command<SummaryOptions>(app, "summary", "a model's layers, shapes, parameters and FLOPs", summary,
                          [](CLI::App& c, SummaryOptions& o) {
                            c.add_option("model", o.model,
                                         "small-cnn, resnet20, gpt, bert, or a run's folder")
                                ->capture_default_str();
                            c.add_option("--batch-size", o.batch_size, "samples of the input")
                                ->capture_default_str()
                                ->check(whole(1));
                          });
  command<EmbedOptions>(
      app, "embed", "sentence vectors of a BERT-family model", embed,
      [](CLI::App& c, EmbedOptions& o) {
        c.add_option("--model", o.model,
                     "folder with config.json, model.safetensors, vocab.txt or tokenizer.json")
            ->required()
            ->check(CLI::ExistingDirectory);
        c.add_option("text", o.texts, "texts to embed");
        c.add_option("--file", o.file, "a text a line; - for standard input");
        c.add_option("--batch-size", o.batch_size, "texts that go through together")
            ->capture_default_str()
            ->check(whole(1));
        c.add_option("--threads", o.threads, "threads; 0: all cores")
            ->capture_default_str()
            ->check(whole(0, 256));
        c.add_flag("--json", o.json, "one JSON object a line on stdout");
      });
  command<ExportOptions>(
      app, "export", "write a trained model as an ONNX file", export_model,
      [](CLI::App& c, ExportOptions& o) {
        c.add_option("run", o.run, "the run's --out folder, or a folder of Transformers' BertModel")
            ->required()
            ->check(CLI::ExistingDirectory);
        c.add_option("--onnx", o.onnx, "the file to write")->required();
        c.add_flag("--fold-batch-norm", o.fold_batch_norm,
                   "put batch norms into the weights of the convolutions before them");
      });
  command<InspectOptions>(
      app, "inspect", "what a safetensors, .npy or .npz file holds", inspect,
      [](CLI::App& c, InspectOptions& o) {
        c.add_option("file", o.file, "the file")->required()->check(CLI::ExistingFile);
        c.add_flag("--json", o.json, "one JSON object a line on stdout");
      });
  command<SeeModelOptions>(
      app, "see", "one page of a training step: graph, time, memory, timeline", see_model,
      [](CLI::App& c, SeeModelOptions& o) {
        c.add_option("model", o.model, "small-cnn, resnet20, gpt, bert, or a run's folder")
            ->capture_default_str();
        c.add_option("--batch-size", o.batch_size, "samples of the step")
            ->capture_default_str()
            ->check(whole(1));
        c.add_option("--out", o.out, "the page")->capture_default_str()->check(not_empty());
        c.add_flag("--shadow", o.shadow,
                   "compute every op again in f64 and show the error of each (slow)");
        c.add_option("--threads", o.threads, "threads; 0: all cores")
            ->capture_default_str()
            ->check(whole(0, 256));
      });
  command<PicturesOptions>(
      app, "pictures", "filters, attention, units' images, histograms of a trained model", pictures,
      [](CLI::App& c, PicturesOptions& o) {
        c.add_option("run", o.run, "the run's --out folder")
            ->required()
            ->check(CLI::ExistingDirectory);
        c.add_option("--out", o.out, "folder for the page and its pictures [RUN/pictures]")
            ->check(not_empty());
        c.add_option("--data", o.data, "folder of the images [that of the training]");
        c.add_option("--logdir", o.logdir, "folder for the same in TensorBoard");
        c.add_option("--threads", o.threads, "threads; 0: all cores")
            ->capture_default_str()
            ->check(whole(0, 256));
      });
  command<ExplainLayerOptions>(
      app, "explain", "a layer by numbers: one element's calculation, forward and backward",
      explain_layer, [](CLI::App& c, ExplainLayerOptions& o) {
        c.add_option("layer", o.layer,
                     "linear, conv2d, batch_norm, layer_norm, rms_norm, group_norm, attention, "
                     "cross_entropy, adam, or norms: BatchNorm and LayerNorm side by side")
            ->required();
        c.add_option("--input", o.input, "rows of numbers, as in \"1 2 6; 3 0 3\" [a small matrix]")
            ->check(not_empty());
        c.add_option("--row", o.row, "the element's row, from 0 [1]")->check(whole(0, 7));
        c.add_option("--column", o.column, "the element's column, from 0 [1]")->check(whole(0, 7));
        c.add_option("--html", o.html, "write a page to this file instead")->check(not_empty());
      });
  command<GalleryOptions>(
      app, "gallery", "published bugs, each with its curve and the check that catches it",
      show_gallery, [](CLI::App& c, GalleryOptions& o) {
        c.add_option("bug", o.bug, "its name [the list]")->check(not_empty());
        c.add_option("--write", o.write, "write the page and its pictures to this folder")
            ->check(not_empty());
      });
  command<LessonOptions>(
      app, "lesson", "measure every claim of \"BatchNorm vs LayerNorm\" and write the report",
      lesson, [](CLI::App& c, LessonOptions& o) {
        CLI::Option* quick =
            c.add_flag("--quick", o.quick, "4 to 12 seeds, until decided; minutes (the default)");
        CLI::Option* full =
            c.add_flag("--full", o.full, "8 to 12 seeds, all grids, all secondary networks")
                ->excludes(quick);
        c.add_flag("--tiny", o.tiny, "seconds; the numbers mean nothing (for tests)")
            ->excludes(quick)
            ->excludes(full);
        c.add_option("--part", o.part, "2: the rivals and successors of the two norms")
            ->capture_default_str()
            ->check(whole(1, 2));
        c.add_option("--claims", o.claims, "only these: C5,C9 [all]")->delimiter(',');
        c.add_option("--seeds", o.seeds, "seeds an arm, fixed [as many as decide a line]")
            ->check(whole(1, 1000));
        c.add_option("--first-seed", o.first_seed,
                     "seeds from here on: an independent run of the same lesson")
            ->capture_default_str()
            ->check(whole(1, 1000));
        c.add_option("--text", o.text,
                     "a UTF-8 text for the language models [Debian's word list]; --full: beside "
                     "the word list");
        c.add_option("--data", o.data, "folder of Fashion-MNIST [the Debian package's]");
        c.add_option("--out", o.out,
                     "folder for runs.jsonl, runs.csv, questions.jsonl, report.html, report.md, "
                     "report.jsonl")
            ->capture_default_str();
        c.add_option("--logdir", o.logdir,
                     "folder for TensorBoard's event files, one run a folder");
        c.add_option("--threads", o.threads,
                     "trainings at a time; 0: one a core. The numbers do not depend on it")
            ->capture_default_str()
            ->check(whole(0, 256));
        CLI::Option* resume =
            c.add_flag("--resume", o.resume, "go on from --out: finished runs are not repeated");
        c.add_flag("--retune", o.retune,
                   "choose the learning rates anew (into --out/rates.txt), not from the program's "
                   "table");
        c.add_flag("--overwrite", o.overwrite, "start anew, whatever --out holds")
            ->excludes(resume);
        c.add_flag("--details", o.details, "every line with its interval, before the twelve");
        c.add_flag("--json", o.json, "JSON lines on stdout, text on stderr");
      });

  command<LiveOptions>(
      app, "live",
      "repeat a run of the live lesson's page (web/): with LOUPE_CPU=baseline the same bits",
      live_run, [](CLI::App& c, LiveOptions& o) {
        c.add_option("settings", o.settings,
                     "NAME=VALUE ...: net (spirals, mlp, cnn, plain, small-cnn, words, bits), norm "
                     "(none, batch, layer, group, rms, dyt), optimizer, depth, batch, group, lr, "
                     "gain, seed");
        c.add_option("--steps", o.steps, "training steps")->capture_default_str()->check(whole(1));
        c.add_option("--change", o.changes,
                     "STEP:NAME=VALUE: lr, batch, group or optimizer from a step on; may be "
                     "repeated");
        c.add_option("--data", o.data, "folder of Fashion-MNIST [the Debian package's]")
            ->check(not_empty());
        c.add_option("--threads", o.threads,
                     "threads; 0: all cores. The numbers do not depend on it")
            ->capture_default_str()
            ->check(whole(0, 256));
        c.add_flag("--json", o.json, "one JSON object a line on stdout, text on stderr");
      });

  command<BenchOptions>(
      app, "bench", "time pieces of work; bench/compare sets PyTorch beside them", bench,
      [](CLI::App& c, BenchOptions& o) {
        c.add_option("--work", o.work, "rows [all]");
        c.add_option("--threads", o.threads, "threads; 0: all cores")
            ->capture_default_str()
            ->check(whole(0, 256));
        c.add_option("--seconds", o.seconds, "time for each row")
            ->capture_default_str()
            ->check(above_zero());
        c.add_option("--data", o.data,
                     "Fashion-MNIST's folder, for the row `epoch` [the Debian package's]");
        c.add_option("--profile", o.profile,
                     "print one row's time by op and layer, and write a trace to this file")
            ->check(not_empty());
        c.add_option("--check", o.check,
                     "compute from the weights and data in this file instead of timing")
            ->check(CLI::ExistingFile);
        c.add_flag("--json", o.json, "one JSON object a line on stdout, text on stderr");
      });
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& known) {
  const std::string meant = nearest_word(word, known);
  return meant.empty() ? "" : fmt::format("; did you mean {}?", meant);
}

// `loupe trian`, `loupe train cn`: CLI11 only says that a command is missing.
void check_commands(const CLI::App& app, int argc, char** argv) {
  const CLI::App* at = &app;
  for (int i = 1; i < argc && argv[i][0] != '-'; ++i) {
    std::vector<std::string> known;
    for (const CLI::App* sub : at->get_subcommands([](const CLI::App*) { return true; }))
      known.push_back(sub->get_name());
    if (known.empty()) return;
    if (std::find(known.begin(), known.end(), argv[i]) == known.end())
      loupe::fail<loupe::ValueError>("there is no {} \"{}\"{}; there are {}",
                                     at == &app ? "command" : "network", argv[i],
                                     did_you_mean(argv[i], known), fmt::join(known, ", "));
    at = at->get_subcommand(argv[i]);
  }
}

// An option that does not exist, by name and with the one that was meant.
void check_options(const CLI::App& app, int argc, char** argv) {
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  std::vector<std::string> known;
  for (const CLI::Option* option : at->get_options())
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  for (int i = 1; i < argc; ++i) {
    const std::string word = std::string(argv[i]).substr(0, std::string(argv[i]).find('='));
    if (!word.starts_with("--") || word == "--") continue;
    if (std::find(known.begin(), known.end(), word) != known.end()) continue;
    loupe::fail<loupe::ValueError>("{}: there is no option {}{}; loupe {} --help lists them",
                                   at->get_name(), word, did_you_mean(word, known), at->get_name());
  }
}

int run(int argc, char** argv) {
  CLI::App app{
      "Loupe: trains small CNNs and Transformers on a CPU, and measures what normalization does.",
      "loupe"};
  bind_commands(app);
  try {
    check_commands(app, argc, argv);
    app.parse(argc, argv);
    return g_exit;
  } catch (const CLI::ParseError& e) {
    if (dynamic_cast<const CLI::ExtrasError*>(&e)) check_options(app, argc, argv);
    std::ostringstream out, err;
    const int code = app.exit(e, out, err);
    write_out(out.str());
    std::fputs(err.str().c_str(), stderr);
    return code;
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    keep_standard_descriptors();
    end_on_interrupts();
    check_environment();
    return run(argc, argv);
  } catch (const loupe::Error& e) {
    std::fprintf(stderr, "loupe: %s\n", e.what());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "loupe: unexpected error: %s\n", e.what());
  }
  return 1;
}
