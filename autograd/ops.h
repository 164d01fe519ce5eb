#pragma once
// Every differentiable op.
#include <loupe/autograd/ops/conv.h>
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/autograd/ops/index.h>
#include <loupe/autograd/ops/matmul.h>
#include <loupe/autograd/ops/pool.h>
#include <loupe/autograd/ops/reduce.h>
#include <loupe/autograd/ops/views.h>
