"""Runs a Caffe network with OpenCV 4, which reads that format itself: a program for an environment of its own.

Arguments: prototxt, caffemodel, a .npz with the inputs, and the .npz to write: the outputs under the same names.
"""

import sys

import cv2
import numpy as np


def main(prototxt: str, caffemodel: str, inputs: str, outputs: str) -> None:
    """Give the last layer's output for each input."""
    net = cv2.dnn.readNetFromCaffe(prototxt, caffemodel)
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    net.enableWinograd(False)
    given = {}
    with np.load(inputs) as arrays:
        for name, values in arrays.items():
            net.setInput(values)
            given[name] = net.forward()
    np.savez(outputs, **given)


if __name__ == "__main__":
    main(*sys.argv[1:])
