/* What zoom.c gives: one heatmap after the other at twice its resolution, and where it was computed. */
#ifndef POSESTREAM_ZOOM_H
#define POSESTREAM_ZOOM_H

#include "decode.h"

/* Cells from `low` to `high` − 1; none where high ≤ low. */
typedef struct {
    int low, high;
} Span;

typedef struct {
    /* (ZOOM·height + 2) rows of `line` = ZOOM·width + 2 values; the outermost are zeros. */
    float *zoomed;
    size_t line;
    /* For each row of cells, the cells whose zoomed ones were computed. Every zoomed cell that may be above the
     * threshold is among them, and so are its eight neighbours. The others hold anything. */
    Span *computed;
    /* The rest is for zoom.c. */
    const Maps *maps;
    float *padded, *wide, *weights;
    Span *active, uniform;
    float least;
} Zoom;

int zoom_start(Zoom *zoom, const Maps *maps, float threshold);
void zoom_map(Zoom *zoom, const float *map);
void zoom_end(Zoom *zoom);

#endif
