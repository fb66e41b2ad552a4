"""Keypoint layouts: what the heatmap channels mean, which limbs join them, and where each limb's field lies."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LAYOUTS", "Layout"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Keypoints and limbs of a two-branch network, in the order of its channels.

    Sources: Cao et al., "OpenPose: Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields",
    2019, and the part lists that CMU publishes with its networks.
    """

    name: str
    #: Keypoint names in heatmap channel order.
    keypoints: tuple[str, ...]
    #: Pairs of keypoint numbers, from the first to the second of which the limb's field points.
    limbs: tuple[tuple[int, int], ...]
    #: For each limb, the channels of its field's x and y among the PAF channels.
    paf_channels: tuple[tuple[int, int], ...]

    @property
    def heatmap_count(self) -> int:
        """Heatmap channels, the background (the last one) included."""
        return len(self.keypoints) + 1

    @property
    def paf_count(self) -> int:
        """PAF channels: two per limb."""
        return 2 * len(self.limbs)


def _layout(name: str, keypoints: str, limbs: str) -> Layout:
    """Read keypoint names and limbs written as "from-to:x/y", the y channel following the x channel."""
    pairs, channels = [], []
    for limb in limbs.split():
        pair, _, channel = limb.partition(":")
        first, _, second = pair.partition("-")
        x, _, y = channel.partition("/")
        pairs.append((int(first), int(second)))
        channels.append((int(x), int(y)))
    return Layout(name, tuple(keypoints.split()), tuple(pairs), tuple(channels))


#: Every known layout by name.
LAYOUTS = {
    layout.name: layout
    for layout in (
        _layout(
            "openpose-18",
            "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist right_hip "
            "right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear",
            "1-2:12/13 1-5:20/21 2-3:14/15 3-4:16/17 5-6:22/23 6-7:24/25 1-8:0/1 8-9:2/3 9-10:4/5 1-11:6/7 "
            "11-12:8/9 12-13:10/11 1-0:28/29 0-14:30/31 14-16:34/35 0-15:32/33 15-17:36/37 2-16:18/19 "
            "5-17:26/27",
        ),
        _layout(
            "openpose-15",
            "head neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist right_hip "
            "right_knee right_ankle left_hip left_knee left_ankle chest",
            "0-1:0/1 1-2:2/3 2-3:4/5 3-4:6/7 1-5:8/9 5-6:10/11 6-7:12/13 1-14:14/15 14-8:16/17 8-9:18/19 "
            "9-10:20/21 14-11:22/23 11-12:24/25 12-13:26/27",
        ),
        _layout(
            "body-25",
            "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist mid_hip "
            "right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear "
            "left_ear left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel",
            "1-8:0/1 1-2:14/15 1-5:22/23 2-3:16/17 3-4:18/19 5-6:24/25 6-7:26/27 8-9:6/7 9-10:2/3 10-11:4/5 "
            "8-12:8/9 12-13:10/11 13-14:12/13 1-0:30/31 0-15:32/33 15-17:36/37 0-16:34/35 16-18:38/39 "
            "2-17:20/21 5-18:28/29 14-19:40/41 19-20:42/43 14-21:44/45 11-22:46/47 22-23:48/49 11-24:50/51",
        ),
    )
}
