#pragma once
// Chapters 1 to 3: tensors and ops.
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/autograd/ops/matmul.h>
#include <loupe/exercises/taught/tensors.h>
