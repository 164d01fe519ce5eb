#pragma once
// Chapters 1 to 4: tensors, ops, gradients, modules.
#include <loupe/autograd/ops/rearrange.h>
#include <loupe/autograd/ops/reduce.h>
#include <loupe/exercises/taught/ops.h>
#include <loupe/layers/module.h>
