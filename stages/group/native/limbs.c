/* Which candidates may be joined: every pair a limb could have, weighed by the field between them. */
#include "decode.h"

#include <math.h>
#include <stdlib.h>

/* What is known of all pairs of one start and each end of a limb. */
typedef struct {
    float *dx, *dy, *least;
    int32_t *middle;                /* the cell nearest to the point halfway */
} Glances;

/* One limb's field. */
typedef struct {
    const float *x, *y;             /* height × width */
    int height, width;
} Field;

/* A candidate, counted from the first cell's centre and not beyond those of the edge cells, so that no point between
 * two of them lies outside. */
typedef struct {
    float x, y;
} Point;

static float clipped(float position, int size)
{
    const float from_centre = position - 0.5f, most = (float)(size - 1);
    return from_centre > 0.0f ? from_centre < most ? from_centre : most : 0.0f;
}

static void glance(const float *restrict x, const float *restrict y, int count, Point start, int width,
                   float threshold, Glances *glances)
{
    float *restrict dx = glances->dx, *restrict dy = glances->dy, *restrict least = glances->least;
    int32_t *restrict middle = glances->middle;
    for (int end = 0; end < count; end++) {
        dx[end] = x[end] - start.x;
        dy[end] = y[end] - start.y;
        const int32_t column = (int32_t)(0.5f * (start.x + x[end]) + 0.5f);
        const int32_t row = (int32_t)(0.5f * (start.y + y[end]) + 0.5f);
        middle[end] = row * width + column;
        least[end] = threshold * sqrtf(dx[end] * dx[end] + dy[end] * dy[end]);
    }
}

/* Interpolate between the four cells around a point. */
static float between(const float *corner, int across, int down, float x_beyond, float y_beyond)
{
    const float upper = corner[0] + x_beyond * (corner[across] - corner[0]);
    const float *below = corner + down;
    const float lower = below[0] + x_beyond * (below[across] - below[0]);
    return upper + y_beyond * (lower - upper);
}

/* The part of the field along the limb at one point, times the limb's length. */
static float along_at(const Field *field, float x, float y, float dx, float dy)
{
    const int column = (int)x, row = (int)y;
    const int across = column < field->width - 1, down = row < field->height - 1 ? field->width : 0;
    const float x_beyond = x - (float)column, y_beyond = y - (float)row;
    const ptrdiff_t cell = (ptrdiff_t)row * field->width + column;
    const float field_x = between(field->x + cell, across, down, x_beyond, y_beyond);
    const float field_y = between(field->y + cell, across, down, x_beyond, y_beyond);
    return field_x * dx + field_y * dy;
}

/* Give the mean of the field along a pair; −1 where too few samples agree. */
static float looked_at(const Field *field, Point start, float dx, float dy, float threshold, int least_agreeing)
{
    const float distance = sqrtf(dx * dx + dy * dy);
    const float length = distance > SHORTEST_MAP ? distance : SHORTEST_MAP;
    const float least = threshold * length;
    float total = 0;
    int may_miss = SAMPLES - least_agreeing;
    for (int sample = 1; sample <= SAMPLES; sample++) {
        const float step = (float)sample / (float)(SAMPLES + 1);
        const float along = along_at(field, start.x + step * dx, start.y + step * dy, dx, dy);
        total = sample == 1 ? along : total + along;
        if (!(along > least) && --may_miss < 0)
            return -1.0f;
    }
    return total / (length * (float)SAMPLES);
}

static int add_connection(Connections *connections, Connection connection)
{
    if (connections->count == connections->capacity) {
        const size_t capacity = connections->capacity ? 2 * connections->capacity : 256;
        Connection *list = realloc(connections->list, capacity * sizeof *list);
        if (!list)
            return -1;
        connections->list = list;
        connections->capacity = capacity;
    }
    connections->list[connections->count++] = connection;
    return 0;
}

/* Weigh all pairs of one limb: a glance at the field halfway tells most pairs of two people in a crowd. */
static int weigh_limb(const Field *field, const Limb *limb, const Settings *settings, const Peaks *peaks,
                      const Point *points, float *x, float *y, Glances *glances, Connections *connections)
{
    const int first_end = peaks->first[limb->end], ends = peaks->first[limb->end + 1] - first_end;
    for (int end = 0; end < ends; end++) {
        x[end] = points[first_end + end].x;
        y[end] = points[first_end + end].y;
    }
    for (int start = peaks->first[limb->start]; start < peaks->first[limb->start + 1]; start++) {
        const float height = peaks->score[start];
        glance(x, y, ends, points[start], field->width, settings->limb_threshold, glances);
        for (int end = 0; end < ends; end++) {
            const float dx = glances->dx[end], dy = glances->dy[end];
            const int32_t middle = glances->middle[end];
            if (!(field->x[middle] * dx + field->y[middle] * dy > glances->least[end]))
                continue;
            const float score =
                looked_at(field, points[start], dx, dy, settings->limb_threshold, settings->least_agreeing);
            const float other = peaks->score[first_end + end];
            const float weight = score * (height < other ? height : other);
            const Connection found = {start, first_end + end, score < 1.0f ? score : 1.0f, weight};
            if (weight > 0 && add_connection(connections, found))
                return -1;
        }
    }
    return 0;
}

/* Put the weightiest first; equal weights keep the order of the pairs. */
static int sort_connections(Connections *connections)
{
    const size_t count = connections->count;
    Entry *order = malloc((count + 1) * sizeof *order);
    Connection *sorted = malloc((count + 1) * sizeof *sorted);
    int failed = !order || !sorted;
    for (size_t i = 0; i < count && !failed; i++) {
        const Entry entry = {key_of_float(connections->list[i].weight), (uint32_t)i};
        order[i] = entry;
    }
    failed = failed || sort_descending(order, count);
    for (size_t i = 0; i < count && !failed; i++)
        sorted[i] = connections->list[order[i].item];
    free(order);
    if (failed) {
        free(sorted);
        return -1;
    }
    free(connections->list);
    connections->list = sorted;
    connections->capacity = count + 1;
    return 0;
}

static int weigh_limbs(const Maps *maps, const Settings *settings, const Peaks *peaks, Connections *connections,
                       float *clean, float *numbers, Point *points)
{
    const size_t cells = (size_t)maps->height * (size_t)maps->width, most = (size_t)settings->most_peaks_per_part;
    float *x = numbers, *y = x + most;
    Glances glances = {y + most, y + 2 * most, y + 3 * most, (int32_t *)(void *)(y + 4 * most)};
    for (int number = 0; number < peaks->count; number++) {
        points[number].x = clipped(peaks->x[number], maps->width);
        points[number].y = clipped(peaks->y[number], maps->height);
    }
    for (int number = 0; number < maps->limb_count; number++) {
        const Limb *limb = &maps->limbs[number];
        if (peaks->first[limb->start] == peaks->first[limb->start + 1] ||
            peaks->first[limb->end] == peaks->first[limb->end + 1])
            continue;
        const Field field = {plain(maps->pafs + (size_t)limb->x_channel * cells, cells, clean),
                             plain(maps->pafs + (size_t)limb->y_channel * cells, cells, clean + cells),
                             maps->height, maps->width};
        if (weigh_limb(&field, limb, settings, peaks, points, x, y, &glances, connections))
            return -1;
    }
    return sort_connections(connections);
}

int find_connections(const Maps *maps, const Settings *settings, const Peaks *peaks, Connections *connections)
{
    const size_t cells = (size_t)maps->height * (size_t)maps->width, most = (size_t)settings->most_peaks_per_part;
    float *clean = malloc(2 * cells * sizeof *clean);
    float *numbers = malloc(6 * most * sizeof *numbers);
    Point *points = malloc(((size_t)peaks->count + 1) * sizeof *points);
    const int failed = !clean || !numbers || !points ||
                       weigh_limbs(maps, settings, peaks, connections, clean, numbers, points);
    free(clean);
    free(numbers);
    free(points);
    return failed ? -1 : 0;
}
