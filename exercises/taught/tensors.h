#pragma once
// Chapter 1: tensors.
#include <loupe/core/tensor.h>
#include <loupe/exercises/student.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <span>
#include <vector>
