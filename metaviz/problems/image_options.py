"""What can be chosen for few-shot classification of photographs."""

from typing import Literal

from metaviz.config.options import Options, option
from metaviz.nets.normalisation import Affine, Statistics
from metaviz.problems.augmentation import Crops
from metaviz.problems.normalising import (
    CELL,
    CELLS,
    POOLINGS,
    adapted_option,
    affine_option,
    eps_option,
    statistics_option,
)

_SMALLEST_SIDE = 16


class ImageOptions(Options):
    """Options of image folders."""

    path: str = option(
        "",
        "Data",
        "Folder or zip of miniImageNet, tieredImageNet, CIFAR-FS, FC100 or any images in one "
        "folder per class, in any usual layout; it is recognised by what is inside.",
    )
    held_out: Literal["validation", "test"] = option(
        "validation",
        "Evaluate on",
        "Classes of the evaluation tasks while training. Keep the test classes for the end: what "
        "is chosen by looking at them is no longer held out.",
    )
    side: int | None = option(
        None,
        "Side",
        "Images are cut square and resized to this side. Empty: 32 for CIFAR, 84 otherwise.",
        unit="pixels",
        ge=_SMALLEST_SIDE,
        le=512,
    )
    backbone: Literal["conv4", "resnet12", "resnet12_simple", "cells"] = option(
        "conv4",
        "Network",
        "Conv4: four blocks of one convolution. ResNet-12: four residual blocks of three, as in "
        "MetaOptNet and learn2learn. Simple ResNet-12: that of SNAIL, with 2048 and 384 features "
        "before the head. Both without the dropout (DropBlock) that they were published with. "
        "Cells: equal cells, whose blocks an option writes down and a search finds.",
        labels={
            "conv4": "Conv4",
            "resnet12": "ResNet-12",
            "resnet12_simple": "simple ResNet-12",
            "cells": "cells",
        },
    )
    widths: Literal["64-160-320-640", "64-128-256-512"] = option(
        "64-160-320-640",
        "Widths",
        "Channels of the four blocks of ResNet-12; other networks do not look at it.",
    )
    channels: int = option(
        *(64, "Channels", "Filters of each convolution of Conv4 or cells; ResNets have theirs."),
        ge=1,
        le=512,
    )
    pooling: Literal["max", "stride", "twice", "mean"] = option(
        "max",
        "Halving",
        "Max-pooling after each block of Conv4, or strided convolutions with a spatial mean at the "
        "end. Twice: after the first two blocks, which convolve without padding, as in relation "
        "networks. Mean: after the first three blocks, and the spatial mean at the end. ResNets "
        "and cells have theirs.",
        labels=POOLINGS,
    )
    norm: Statistics = statistics_option()
    norm_affine: Affine = affine_option()
    norm_adapted: bool = adapted_option()
    norm_eps: float = eps_option()
    normalise: Literal["unit", "imagenet"] = option(
        "unit",
        "Scale",
        "Unit: from 0 to 1. ImageNet: then minus the mean of ImageNet's channels, divided by "
        "their standard deviation.",
        labels={"unit": "0 to 1", "imagenet": "ImageNet's mean and deviation"},
    )
    swap_channels: bool = option(
        False,
        "Swap red and blue",
        "Some pickles of miniImageNet were written with blue first, which nothing in them tells: "
        "switch this on if skies look orange.",
    )
    rotations: bool = option(
        False,
        "Rotations as classes",
        "While training, draw one quarter turn per class and task: a turned class is another one.",
    )
    flips: bool = option(
        False, "Flips", "While training, mirror each image left to right with probability 1/2."
    )
    crops: Crops = option(
        "none",
        "Random crops",
        "While training. Padded: a square of the same size from the image with a black margin. "
        "Resized: a part of the image, stretched to its size.",
        labels={"none": "none", "padded": "pad and crop", "resized": "crop and resize"},
    )
    crop_padding: int = option(
        8, "Margin of padded crops", "On each side.", unit="pixels", ge=1, le=256
    )
    crop_area: float = option(
        0.5,
        "Smallest resized crop",
        "Share of the image's area that a resized crop has at least.",
        gt=0,
        le=1,
    )
    jitter: float = option(
        0.0,
        "Colour jitter s",
        "While training, multiply brightness, contrast and saturation of each image by factors "
        "drawn from [1 − s, 1 + s]. 0: never.",
        ge=0,
        le=1,
    )
    cifar: Literal["CIFAR-FS", "FC100"] = option(
        "CIFAR-FS",
        "Split of CIFAR-100",
        "Which published split raw CIFAR-100 is divided by: CIFAR-FS by classes, FC100 by "
        "superclasses.",
    )
    split_seed: int = option(
        0,
        "Seed of the split",
        "Divides classes that come without a split, 64 : 16 : 20.",
        ge=0,
        le=2**31 - 1,
    )
    cell: str | None = CELL
    cells: int | None = CELLS
