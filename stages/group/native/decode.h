/* What the parts of the compiled decoder share: constants, what is passed between them, and who makes what of it.
 *
 * The decoder in NumPy (reference.py and what it uses) says what people are. Here the same additions, multiplications,
 * divisions and square roots are done on the same values in the same order, so that both give the same bits; the
 * compiler must not fuse or reorder them (-ffp-contract=off, no -ffast-math).
 *
 * Whoever calls `decode` has checked: 1 ≤ height, width ≤ MOST_SIDE; all of a map's arrays are as long as is said at
 * `Maps`; parts and channels of limbs exist; the settings are within their bounds. */
#ifndef POSESTREAM_DECODE_H
#define POSESTREAM_DECODE_H

#include <stddef.h>
#include <stdint.h>

/* As in the NumPy decoder, which explains them; a test compares them. */
#define ZOOM 2
#define REACH 3
#define TAPS (2 * REACH + 1)
#define SAMPLES 8
#define SHORTEST_MAP 1e-3f
#define LOG_FLOOR 1e-3f
#define LEAST_BEND 2e-5
#define SEEN_HALF_MAP 8.0
#define LEAST_EXTENT_MAP 2.0
#define MOST_FIELD 1e6f
#define ALIKE 0.05
#define LEAST_GAIN 1e-3
#define LEAST_SQUARE 1e-9
#define ROUNDS 2

/* Bounds with which no size or number below leaves 32 bits, nor a set of parts 64. */
#define MOST_SIDE 4096
#define MOST_PARTS 62
#define MOST_LIMBS 256
#define MOST_BOUND 1000

typedef struct {
    int32_t start, end;             /* parts */
    int32_t x_channel, y_channel;   /* among the fields */
} Limb;

typedef struct {
    const float *heatmaps;          /* parts × height × width */
    const float *pafs;              /* channels × height × width */
    const float *across, *down;     /* ZOOM·width × TAPS and ZOOM·height × TAPS, see zoom_taps */
    const Limb *limbs;
    int parts, channels, height, width, limb_count;
} Maps;

typedef struct {
    float peak_threshold, limb_threshold;
    double least_score;
    int least_agreeing, least_parts, most_people, most_peaks_per_part, single_person;
} Settings;

typedef struct {
    float x_px_per_cell, y_px_per_cell, x_edge_map, y_edge_map, width_px, height_px;
} View;

/* Candidates for keypoints, by part and within a part the highest first; part k's are first[k] … first[k + 1] − 1. */
typedef struct {
    float *x, *y, *score;
    int *part;
    int first[MOST_PARTS + 1];
    int count, capacity, truncated;
} Peaks;

typedef struct {
    int limb, start, end;           /* start and end: candidates */
    float score, weight;
} Connection;

/* Pairs of candidates whose limb's field agrees, the weightiest first after `sort_connections`,
 * and those of the limbs' pairings before the others after `put_paired_first`. */
typedef struct {
    Connection *list;
    size_t count, capacity;
} Connections;

/* Who is in a frame: count × parts × 3 keypoints, and scores. */
typedef struct {
    float *keypoints, *scores;
    int count, truncated;
} Found;

/* What is sorted, and by what: the bits of a float or double that is not negative, which are in the order of values. */
typedef struct {
    uint64_t key;
    uint32_t item;
} Entry;

/* All of these give 0, or −1 where there is no memory. */
int decode(const Maps *maps, const Settings *settings, const View *view, Found *found);
int find_peaks(const Maps *maps, const Settings *settings, const View *view, Peaks *peaks);
int find_connections(const Maps *maps, const Settings *settings, const Peaks *peaks, Connections *connections);
int put_paired_first(const Maps *maps, const Settings *settings, const Peaks *peaks, Connections *connections);
int assemble(const Peaks *peaks, const Connections *connections, int *person_of, int *count);
int tell_people(const Maps *maps, const Settings *settings, const View *view, const Peaks *peaks,
                const Connections *connections, const int *person_of, int count, Found *found);
int sort_descending(Entry *entries, size_t count);

void free_peaks(Peaks *peaks);
uint64_t key_of_float(float value);
uint64_t key_of_double(double value);

#endif
