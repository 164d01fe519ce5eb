#pragma once
// One function a chapter: it draws the chapter's figures into the current folder.
namespace guide {

void draw_tensors();
void draw_reverse_mode();
void draw_optimizers();
void draw_convolution();
void draw_norms();
void draw_attention();
void draw_fast();
void draw_numbers();

}  // namespace guide
