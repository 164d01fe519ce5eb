#pragma once
// The names of Loupe's types, declared and not defined: for a header of yours that only passes them by
// reference or pointer. It includes nothing of Loupe, and costs next to nothing. The source beside it
// includes what it uses, or <loupe/loupe.h>.
#include <cstdint>

namespace loupe {

// core
enum class DType : uint8_t;
class Dims;
using Shape = Dims;
using Strides = Dims;
class Tensor;
class Storage;
class Rng;
struct Number;
struct Named;
struct MemoryStats;

// errors
struct Error;
struct CallError;
struct ShapeError;
struct DtypeError;
struct IndexError;
struct ValueError;
struct GradError;
struct NumericError;
struct IoError;
struct OutOfMemory;

// autograd
class Node;
class SavedTensor;
struct GradMeta;
class GradMode;
class Index;

// layers
class Visitor;
class Module;
template <class Derived> class Layer;
template <class M> class ModuleList;
class Sequential;
class Flatten;
class Linear;
class Conv1d;
class Conv2d;
class ConvTranspose1d;
class ConvTranspose2d;
template <int kRank> class BatchNorm;
using BatchNorm1d = BatchNorm<1>;
using BatchNorm2d = BatchNorm<2>;
class InstanceNorm2d;
class GroupNorm;
class LayerNorm;
class RMSNorm;
class Dropout;
class Dropout1d;
class Dropout2d;
class Embedding;
class Upsample;
class MultiheadAttention;
class TransformerEncoderLayer;
class TransformerDecoderLayer;
class LSTM;
class GRU;
class RNN;
class LSTMCell;
class GRUCell;
class RNNCell;
class ConfusionMatrix;

// optim
class Optimizer;
class SGD;
class Adam;
class AdamW;
class RMSprop;
class Adagrad;
class Lion;
class Muon;
class EmaWeights;
class Schedule;

// models
class SmallCnn;
class ResNetCifar;
class Gpt;
class BertEncoder;

// io
class Dataset;
class ImageDataset;
class TensorDataset;
class TextDataset;
class AugmentedDataset;
class DataLoader;
struct Batch;
class CheckpointFolder;
class EventWriter;
class Monitor;
class CharVocab;
class WordPiece;

}  // namespace loupe
