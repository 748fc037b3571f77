"""8-bit levels of images as Qt draws them."""

import numpy as np
from PySide6.QtGui import QImage


def qimage(pixels: np.ndarray) -> QImage:
    """Return 8-bit levels (channels, height, width), of one or three channels, as an image."""
    channels, height, width = pixels.shape
    rows = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    kind = QImage.Format.Format_RGB888 if channels > 1 else QImage.Format.Format_Grayscale8
    # A copy, because Qt would go on reading memory that numpy has released.
    return QImage(rows.data, width, height, channels * width, kind).copy()
