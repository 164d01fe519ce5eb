// The command line: CLI11 fills the option structs of commands.h.
#include <loupe/cli/commands.h>
#include <loupe/cli/console.h>
#include <loupe/core/blas.h>
#include <loupe/core/cpu.h>
#include <loupe/core/error.h>
#include <loupe/core/threads.h>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>

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

void bind_output(CLI::App& c, RunOptions& o) {
  c.add_option("--seed", o.seed, "decides every random number of the run")->capture_default_str();
  c.add_option("--threads", o.threads, "threads; 0: all cores. The numbers do not depend on it")
      ->capture_default_str()
      ->check(CLI::Range(0, 256));
  c.add_option("--out", o.out,
               "folder for model.safetensors, options.json, metrics.jsonl, checkpoints/");
  c.add_flag("--json", o.json, "one JSON object a line on stdout, text on stderr");
}

void bind_training(CLI::App& c, TrainOptions& o, const char* epochs, const char* batch,
                   const char* lr, const char* init) {
  bind_output(c, o);
  c.add_option("--epochs", o.epochs, std::string("passes over the data") + epochs)
      ->check(CLI::PositiveNumber);
  c.add_option("--steps", o.steps, "optimizer steps; the first limit reached ends the run")
      ->check(CLI::PositiveNumber);
  c.add_option("--batch-size", o.batch_size, std::string("samples of one step") + batch)
      ->check(CLI::PositiveNumber);
  c.add_option("--lr", o.lr, std::string("largest learning rate") + lr)->check(CLI::PositiveNumber);
  c.add_option("--optimizer", o.optimizer, "sgd (momentum 0.9), adam, adamw, rmsprop")
      ->capture_default_str()
      ->check(CLI::IsMember({"sgd", "adam", "adamw", "rmsprop"}));
  c.add_option("--weight-decay", o.weight_decay, "on weights, not on biases and norms [0.01]");
  c.add_option("--schedule", o.schedule,
               "of the learning rate: constant, cosine (with warm-up), one-cycle")
      ->check(CLI::IsMember({"constant", "cosine", "one-cycle"}));
  c.add_option("--clip", o.clip, "largest norm of all gradients together; 0: no clipping")
      ->capture_default_str();
  c.add_option("--init-from", o.init_from,
               std::string("safetensors file with the weights to start from") + init)
      ->check(CLI::ExistingPath);
  c.add_option("--checkpoint-every", o.checkpoint_every,
               "steps between checkpoints; 0: each epoch or tenth of the run")
      ->capture_default_str();
  c.add_option("--keep", o.keep, "how many checkpoints stay beside the best")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  c.add_flag("--resume", o.resume, "go on from the newest whole checkpoint under --out");
  c.add_option("--logdir", o.logdir,
               "folder for TensorBoard's event files: the run, and what every layer does");
  c.add_option("--log-every", o.log_every,
               "steps between what the layers do; four times that between histograms")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  c.add_option("--shadow", o.shadow,
               "compute every op of so many first steps again in f64 and compare (slow)")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  c.add_flag("--anomaly", o.anomaly,
             "stop at the first NaN or Inf with op, layer and source line (slow)");
}

void bind_train_cnn(CLI::App& c, TrainCnnOptions& o) {
  c.add_option("--dataset", o.dataset, "fashion-mnist, mnist, cifar10")
      ->capture_default_str()
      ->check(CLI::IsMember({"fashion-mnist", "mnist", "cifar10"}));
  c.add_option("--data", o.data, "folder of the data set's files [the Debian package's]");
  c.add_option("--model", o.model, "small, resnet20")
      ->capture_default_str()
      ->check(CLI::IsMember({"small", "resnet20"}));
  c.add_option("--norm", o.norm, "batch, layer, group, none")
      ->capture_default_str()
      ->check(CLI::IsMember({"batch", "layer", "group", "none"}));
  c.add_option("--label-smoothing", o.label_smoothing,
               "share of the target spread over all classes")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 0.9));
  c.add_option("--validation", o.validation,
               "hold out so many last training images and report on them instead of the test data")
      ->capture_default_str();
  bind_training(c, o, " [10]", " [64]", " [0.003]", "");
}

void bind_train_gpt(CLI::App& c, TrainGptOptions& o) {
  c.add_option("--text", o.text, "UTF-8 text to learn [Debian's word list, shuffled]");
  c.add_option("--norm", o.norm, "layer, batch, rms, none")
      ->capture_default_str()
      ->check(CLI::IsMember({"layer", "batch", "rms", "none"}));
  c.add_option("--layers", o.layers, "blocks [4]")->check(CLI::PositiveNumber);
  c.add_option("--heads", o.heads, "attention heads of a block [4]")->check(CLI::PositiveNumber);
  c.add_option("--width", o.width, "features of a token [128]")->check(CLI::PositiveNumber);
  c.add_option("--context", o.context, "tokens the model sees [64]")->check(CLI::PositiveNumber);
  c.add_option("--dropout", o.dropout, "probability")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 0.99));
  c.add_option("--validation", o.validation,
               "share of the text, at its end, that is not trained on")
      ->capture_default_str()
      ->check(CLI::Range(0.001, 0.9));
  bind_training(c, o, "", " [12]", " [0.004]",
                ", or a folder with config.json and model.safetensors of Transformers' GPT-2");
}

std::string version() {
  return "loupe 0.1.0, instruction set " + std::string(loupe::name(loupe::cpu_level())) + ", " +
         loupe::blas::description();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Loupe: trains small CNNs and Transformers on a CPU, and measures what normalization does.",
      "loupe"};
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
        c.add_option("--prompt", o.prompt, "text to go on from [a line break]");
        c.add_option("--length", o.length, "characters to write")
            ->capture_default_str()
            ->check(CLI::PositiveNumber);
        c.add_option("--temperature", o.temperature, "0: always the likeliest character")
            ->capture_default_str()
            ->check(CLI::NonNegativeNumber);
        c.add_option("--top-k", o.top_k, "choose among the k likeliest; 0: among all")
            ->capture_default_str()
            ->check(CLI::NonNegativeNumber);
        bind_output(c, o);
      });
  command<SummaryOptions>(app, "summary", "a model's layers, shapes, parameters and FLOPs", summary,
                          [](CLI::App& c, SummaryOptions& o) {
                            c.add_option("model", o.model,
                                         "small-cnn, resnet20, gpt, bert, or a run's folder")
                                ->capture_default_str();
                            c.add_option("--batch-size", o.batch_size, "samples of the input")
                                ->capture_default_str()
                                ->check(CLI::PositiveNumber);
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
            ->check(CLI::PositiveNumber);
        c.add_option("--threads", o.threads, "threads; 0: all cores")
            ->capture_default_str()
            ->check(CLI::Range(0, 256));
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
  command<LessonOptions>(
      app, "lesson", "measure every claim of \"BatchNorm vs LayerNorm\" and write the report",
      lesson, [](CLI::App& c, LessonOptions& o) {
        CLI::Option* quick = c.add_flag("--quick", o.quick, "3 seeds, minutes (the default)");
        CLI::Option* full =
            c.add_flag("--full", o.full, "5 seeds, all grids, all secondary networks")
                ->excludes(quick);
        c.add_flag("--tiny", o.tiny, "seconds; the numbers mean nothing (for tests)")
            ->excludes(quick)
            ->excludes(full);
        c.add_option("--claims", o.claims, "only these: C5,C9 [all]")->delimiter(',');
        c.add_option("--seeds", o.seeds, "seeds an arm [the profile's]")
            ->check(CLI::Range(1, 1000));
        c.add_option("--text", o.text,
                     "a UTF-8 text for the language models [Debian's word list]; --full: beside "
                     "the word list");
        c.add_option("--data", o.data, "folder of Fashion-MNIST [the Debian package's]");
        c.add_option("--out", o.out,
                     "folder for runs.jsonl, runs.csv, report.html, report.md, report.jsonl")
            ->capture_default_str();
        c.add_option("--logdir", o.logdir,
                     "folder for TensorBoard's event files, one run a folder");
        c.add_option("--threads", o.threads,
                     "trainings at a time; 0: one a core. The numbers do not depend on it")
            ->capture_default_str()
            ->check(CLI::Range(0, 256));
        c.add_flag("--resume", o.resume, "go on from --out: finished runs are not repeated");
        c.add_flag("--json", o.json, "JSON lines on stdout, text on stderr");
      });

  command<BenchOptions>(
      app, "bench", "time pieces of work; bench/compare sets PyTorch beside them", bench,
      [](CLI::App& c, BenchOptions& o) {
        c.add_option("--work", o.work, "rows [all]");
        c.add_option("--threads", o.threads, "threads; 0: all cores")
            ->capture_default_str()
            ->check(CLI::Range(0, 256));
        c.add_option("--seconds", o.seconds, "time for each row")
            ->capture_default_str()
            ->check(CLI::PositiveNumber);
        c.add_option("--data", o.data,
                     "Fashion-MNIST's folder, for the row `epoch` [the Debian package's]");
        c.add_option("--check", o.check,
                     "compute from the weights and data in this file instead of timing")
            ->check(CLI::ExistingFile);
        c.add_flag("--json", o.json, "one JSON object a line on stdout, text on stderr");
      });

  try {
    catch_interrupts();
    app.parse(argc, argv);
    return g_exit;
  } catch (const CLI::ParseError& e) { return app.exit(e); } catch (const loupe::Error& e) {
    std::fprintf(stderr, "loupe: %s\n", e.what());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "loupe: unexpected error: %s\n", e.what());
  }
  return 1;
}
