/* The Python module: checks every buffer and number, then decodes without the GIL. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "decode.h"

#include <stdlib.h>

/* Grows with every change of what `decode` takes or gives, so that a module left from another version is noticed. */
#define INTERFACE 2

/* The buffers of one call. */
enum { HEATMAPS, PAFS, ACROSS, DOWN, LIMBS, BUFFERS };

static const char *const names[BUFFERS] = {"heatmaps", "pafs", "across", "down", "limbs"};

static int take_buffer(PyObject *object, Py_buffer *buffer, int which)
{
    const char kind = which == LIMBS ? 'i' : 'f';
    const int dimensions = which == HEATMAPS || which == PAFS ? 3 : 2;
    if (PyObject_GetBuffer(object, buffer, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0)
        return -1;
    if (!buffer->format || buffer->format[0] != kind || buffer->format[1] || buffer->itemsize != 4 ||
        buffer->ndim != dimensions || (uintptr_t)buffer->buf % 4) {
        PyErr_Format(PyExc_ValueError, "%s: an array of %d dimensions of aligned, native %s is needed", names[which], dimensions,
                     which == LIMBS ? "int32" : "float32");
        return -1;
    }
    return 0;
}

static int refuse(const char *what)
{
    PyErr_SetString(PyExc_ValueError, what);
    return -1;
}

static int check_limbs(const Maps *maps)
{
    for (int i = 0; i < maps->limb_count; i++) {
        const Limb *limb = &maps->limbs[i];
        if (limb->start < 0 || limb->start >= maps->parts || limb->end < 0 || limb->end >= maps->parts)
            return refuse("limbs: there is no such part");
        if (limb->x_channel < 0 || limb->x_channel >= maps->channels || limb->y_channel < 0 ||
            limb->y_channel >= maps->channels)
            return refuse("limbs: there is no such channel");
    }
    return 0;
}

static int check_maps(const Py_buffer *buffers, Maps *maps)
{
    const Py_ssize_t *heatmaps = buffers[HEATMAPS].shape, *pafs = buffers[PAFS].shape;
    const Py_ssize_t height = heatmaps[1], width = heatmaps[2];
    if (heatmaps[0] < 1 || heatmaps[0] > MOST_PARTS)
        return refuse("heatmaps: too many parts, or none");
    if (height < 1 || height > MOST_SIDE || width < 1 || width > MOST_SIDE)
        return refuse("heatmaps: too many cells, or none");
    if (pafs[0] > 2 * MOST_LIMBS || pafs[1] != height || pafs[2] != width)
        return refuse("pafs: too many channels, or other cells than the heatmaps'");
    if (buffers[ACROSS].shape[0] != ZOOM * width || buffers[ACROSS].shape[1] != TAPS)
        return refuse("across: not the weights of so many cells");
    if (buffers[DOWN].shape[0] != ZOOM * height || buffers[DOWN].shape[1] != TAPS)
        return refuse("down: not the weights of so many cells");
    if (buffers[LIMBS].shape[0] < 1 || buffers[LIMBS].shape[0] > MOST_LIMBS || buffers[LIMBS].shape[1] != 4)
        return refuse("limbs: too many, none, or not of four numbers");
    const Maps checked = {
        buffers[HEATMAPS].buf, buffers[PAFS].buf, buffers[ACROSS].buf,     buffers[DOWN].buf, buffers[LIMBS].buf,
        (int)heatmaps[0],      (int)pafs[0],      (int)height,             (int)width,        (int)buffers[LIMBS].shape[0],
    };
    *maps = checked;
    return check_limbs(maps);
}

static int is_fraction(double value)
{
    return value >= 0 && value <= 1;
}

static int is_bound(int value)
{
    return value >= 1 && value <= MOST_BOUND;
}

static int check_settings(const Settings *settings)
{
    if (!is_fraction((double)settings->peak_threshold) || !is_fraction((double)settings->limb_threshold) ||
        !is_fraction(settings->least_score))
        return refuse("settings: a threshold is outside 0…1");
    if (settings->least_agreeing < 0 || settings->least_agreeing > SAMPLES || !is_bound(settings->least_parts) ||
        !is_bound(settings->most_people) || !is_bound(settings->most_peaks_per_part))
        return refuse("settings: a number is outside its bounds");
    return 0;
}

/* Give (keypoints, scores, truncated), the first two as bytes of float32. */
static PyObject *decoded(const Maps *maps, const Settings *settings, const View *view)
{
    Found found = {0};
    int failed;
    PyObject *result = NULL;
    Py_BEGIN_ALLOW_THREADS
    failed = decode(maps, settings, view, &found);
    Py_END_ALLOW_THREADS
    if (failed) {
        PyErr_NoMemory();
    } else {
        const Py_ssize_t scores_size = (Py_ssize_t)sizeof(float) * found.count;
        result = Py_BuildValue("(y#y#O)", (const char *)found.keypoints, 3 * maps->parts * scores_size,
                               (const char *)found.scores, scores_size, found.truncated ? Py_True : Py_False);
    }
    free(found.keypoints);
    free(found.scores);
    return result;
}

static PyObject *decode_method(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *objects[BUFFERS], *result = NULL;
    Py_buffer buffers[BUFFERS];
    Settings settings;
    View view;
    Maps maps;
    int taken = 0;
    if (!PyArg_ParseTuple(arguments, "OOOOO(ffdiiiip)(ffffff)", &objects[HEATMAPS], &objects[PAFS], &objects[ACROSS],
                          &objects[DOWN], &objects[LIMBS], &settings.peak_threshold, &settings.limb_threshold,
                          &settings.least_score, &settings.least_agreeing, &settings.least_parts, &settings.most_people,
                          &settings.most_peaks_per_part, &settings.single_person, &view.x_px_per_cell,
                          &view.y_px_per_cell, &view.x_edge_map, &view.y_edge_map, &view.width_px, &view.height_px))
        return NULL;
    int is_fine = !check_settings(&settings);
    while (is_fine && taken < BUFFERS) {
        buffers[taken].obj = NULL;      /* so that releasing is right also where nothing was given */
        is_fine = !take_buffer(objects[taken], &buffers[taken], taken);
        taken++;
    }
    if (is_fine && !check_maps(buffers, &maps))
        result = decoded(&maps, &settings, &view);
    while (taken > 0)
        PyBuffer_Release(&buffers[--taken]);
    return result;
}

static PyMethodDef methods[] = {
    {"decode", decode_method, METH_VARARGS,
     "decode(heatmaps, pafs, across, down, limbs, settings, view) -> (keypoints, scores, truncated)"},
    {NULL, NULL, 0, NULL},
};

/* What both decoders must agree on. */
static int add_constants(PyObject *module)
{
    const struct {
        const char *name;
        double value;
    } constants[] = {
        {"INTERFACE", INTERFACE},   {"ZOOM", ZOOM},
        {"REACH", REACH},           {"SAMPLES", SAMPLES},
        {"MOST_SIDE", MOST_SIDE},   {"MOST_PARTS", MOST_PARTS},
        {"MOST_BOUND", MOST_BOUND}, {"SHORTEST_MAP", (double)SHORTEST_MAP},
        {"LOG_FLOOR", (double)LOG_FLOOR}, {"LEAST_BEND", LEAST_BEND},
        {"SEEN_HALF_MAP", SEEN_HALF_MAP}, {"MOST_FIELD", (double)MOST_FIELD},
        {"ALIKE", ALIKE},           {"LEAST_GAIN", LEAST_GAIN},
        {"LEAST_SQUARE", LEAST_SQUARE}, {"ROUNDS", ROUNDS},
        {"LEAST_EXTENT_MAP", LEAST_EXTENT_MAP},
    };
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        PyObject *value = PyFloat_FromDouble(constants[i].value);
        if (!value || PyModule_AddObjectRef(module, constants[i].name, value) < 0) {
            Py_XDECREF(value);
            return -1;
        }
        Py_DECREF(value);
    }
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, add_constants},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_compiled",
    .m_doc = "Grouping, compiled: field maps into people.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__compiled(void)
{
    return PyModuleDef_Init(&module_definition);
}
