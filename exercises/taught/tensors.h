#pragma once
// Chapter 1: tensors.
#include <loupe/core/tensor.h>
#include <loupe/exercises/student.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>
