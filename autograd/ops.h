#pragma once
// Every differentiable op.
#include <loupe/autograd/ops/activation.h>
#include <loupe/autograd/ops/attention.h>
#include <loupe/autograd/ops/conv.h>
#include <loupe/autograd/ops/dropout.h>
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/autograd/ops/embedding.h>
#include <loupe/autograd/ops/index.h>
#include <loupe/autograd/ops/loss.h>
#include <loupe/autograd/ops/matmul.h>
#include <loupe/autograd/ops/norm.h>
#include <loupe/autograd/ops/pool.h>
#include <loupe/autograd/ops/recurrent.h>
#include <loupe/autograd/ops/reduce.h>
#include <loupe/autograd/ops/softmax.h>
#include <loupe/autograd/ops/views.h>
