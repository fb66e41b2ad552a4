/* Field maps into people, in one pass: peaks, connections, people. */
#include "decode.h"

#include <stdlib.h>

/* Everything found is one person. */
static int take_all(const Peaks *peaks, int *person_of)
{
    for (int i = 0; i < peaks->count; i++)
        person_of[i] = 0;
    return peaks->count > 0;
}

static int decode_peaks(const Maps *maps, const Settings *settings, const View *view, Peaks *peaks,
                        Connections *connections, Found *found)
{
    int count = 0;
    int *person_of = malloc(((size_t)peaks->count + 1) * sizeof *person_of);
    int failed = !person_of;
    if (!failed && settings->single_person)
        count = take_all(peaks, person_of);
    else if (!failed)
        failed = find_connections(maps, settings, peaks, connections) ||
                 put_paired_first(maps, settings, peaks, connections) ||
                 assemble(peaks, connections, person_of, &count);
    failed = failed || tell_people(maps, settings, view, peaks, connections, person_of, count, found);
    free(person_of);
    return failed;
}

int decode(const Maps *maps, const Settings *settings, const View *view, Found *found)
{
    Peaks peaks = {0};
    Connections connections = {0};
    const int failed = find_peaks(maps, settings, view, &peaks) ||
                       decode_peaks(maps, settings, view, &peaks, &connections, found);
    free_peaks(&peaks);
    free(connections.list);
    return failed ? -1 : 0;
}
