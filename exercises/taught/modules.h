#pragma once
// Chapters 1 to 4: tensors, gradients, ops, modules.
#include <loupe/autograd/ops/rearrange.h>
#include <loupe/autograd/ops/reduce.h>
#include <loupe/exercises/taught/graph.h>
#include <loupe/layers/module.h>
