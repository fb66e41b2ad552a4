/* What is told of the people found: their keypoints in the picture, their scores, and which of them are kept. */
#include "decode.h"

#include <math.h>
#include <stdlib.h>

/* A person while candidates are looked at. */
typedef struct {
    double fields, score;
    float left, right, top, bottom; /* in cells */
    int size, row;                  /* row: where it is told, or −1 */
} Person;

static void see_candidates(const Peaks *peaks, const int *person_of, Person *people, int count)
{
    for (int i = 0; i < count; i++) {
        const Person nobody = {0, 0, INFINITY, -INFINITY, INFINITY, -INFINITY, 0, -1};
        people[i] = nobody;
    }
    for (int i = 0; i < peaks->count; i++) {
        if (person_of[i] < 0)
            continue;
        Person *person = &people[person_of[i]];
        const float x = peaks->x[i], y = peaks->y[i];
        person->left = x < person->left ? x : person->left;
        person->right = x > person->right ? x : person->right;
        person->top = y < person->top ? y : person->top;
        person->bottom = y > person->bottom ? y : person->bottom;
        person->size++;
    }
}

/* Give each person's score: the limbs' fields summed, over all limbs, times how well its size is seen. */
static void score_people(const Connections *connections, const int *person_of, Person *people, int count, int limbs)
{
    for (size_t i = 0; i < connections->count; i++) {
        const int person = person_of[connections->list[i].start];
        if (person >= 0 && person == person_of[connections->list[i].end])
            people[person].fields += (double)connections->list[i].score;
    }
    for (int i = 0; i < count; i++) {
        Person *person = &people[i];
        const double wide = (double)person->right - (double)person->left;
        const double high = (double)person->bottom - (double)person->top;
        const double diagonal = sqrt(wide * wide + high * high);
        const double extent = diagonal > LEAST_EXTENT_MAP ? diagonal : LEAST_EXTENT_MAP;
        const double share = person->fields / limbs;
        person->score = (share < 1.0 ? share : 1.0) * extent / (extent + SEEN_HALF_MAP);
    }
}

/* One person of all that was found: the mean height over all parts. */
static void score_single(const Peaks *peaks, Person *people, int count, int parts)
{
    double sum = 0;
    for (int i = 0; i < peaks->count; i++)
        sum += (double)peaks->score[i];
    if (count)
        people[0].score = sum / parts;
}

static float in_picture(float position_map, float px_per_cell, float size_px)
{
    const float position = position_map * px_per_cell;
    return position < 0.0f ? 0.0f : position > size_px ? size_px : position;
}

static void write_people(const Maps *maps, const View *view, const Peaks *peaks, const int *person_of,
                         const Person *people, Found *found)
{
    const size_t row_length = 3 * (size_t)maps->parts;
    for (size_t i = 0; i < (size_t)found->count * row_length; i++)
        found->keypoints[i] = NAN;
    for (int i = 0; i < peaks->count; i++) {
        if (person_of[i] < 0 || people[person_of[i]].row < 0)
            continue;
        float *keypoint = found->keypoints + (size_t)people[person_of[i]].row * row_length + 3 * (size_t)peaks->part[i];
        keypoint[0] = in_picture(peaks->x[i], view->x_px_per_cell, view->width_px);
        keypoint[1] = in_picture(peaks->y[i], view->y_px_per_cell, view->height_px);
        keypoint[2] = peaks->score[i];
    }
}

/* Choose who is told: the sure and whole, the best first and of equals the first found. */
static int choose(const Settings *settings, Person *people, int count, Entry *order, Found *found)
{
    size_t kept = 0;
    for (int i = 0; i < count; i++)
        if (people[i].size >= settings->least_parts && people[i].score >= settings->least_score) {
            const Entry entry = {key_of_double(people[i].score), (uint32_t)i};
            order[kept++] = entry;
        }
    if (sort_descending(order, kept))
        return -1;
    const size_t most = (size_t)settings->most_people;
    found->truncated |= kept > most;
    found->count = (int)(kept < most ? kept : most);
    for (int row = 0; row < found->count; row++)
        people[order[row].item].row = row;
    return 0;
}

static int tell(const Maps *maps, const View *view, const Peaks *peaks, const int *person_of, const Person *people,
                const Entry *order, Found *found)
{
    found->keypoints = malloc(((size_t)found->count * 3 * (size_t)maps->parts + 1) * sizeof *found->keypoints);
    found->scores = malloc(((size_t)found->count + 1) * sizeof *found->scores);
    if (!found->keypoints || !found->scores)
        return -1;
    for (int row = 0; row < found->count; row++)
        found->scores[row] = (float)people[order[row].item].score;
    write_people(maps, view, peaks, person_of, people, found);
    return 0;
}

int tell_people(const Maps *maps, const Settings *settings, const View *view, const Peaks *peaks,
                const Connections *connections, const int *person_of, int count, Found *found)
{
    Person *people = malloc(((size_t)count + 1) * sizeof *people);
    Entry *order = malloc(((size_t)count + 1) * sizeof *order);
    int failed = !people || !order;
    if (!failed) {
        see_candidates(peaks, person_of, people, count);
        if (settings->single_person)
            score_single(peaks, people, count, maps->parts);
        else
            score_people(connections, person_of, people, count, maps->limb_count);
        found->truncated = peaks->truncated;
        failed = choose(settings, people, count, order, found) ||
                 tell(maps, view, peaks, person_of, people, order, found);
    }
    free(people);
    free(order);
    return failed ? -1 : 0;
}
