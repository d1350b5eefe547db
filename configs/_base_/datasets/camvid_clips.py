# Real frames, one camera a clip: CamVid's train and folders of unlabelled frames in one index, a
# surround rig in another. Paths are those of tools/study_camvid.py, which builds both. No frame of
# CamVid's val may be in them: detectors are judged on it.
_base_ = './nuscenes_clips.py'

common = dict(
    type='ClipDataset',
    image_size=(240, 320),
    steps=2,
    one_camera=True,
    whole=True,
    augment=dict(crop=(0.35, 1.0)))

train_dataloader = dict(
    batch_size=16, num_workers=1, pin_memory=False,
    dataset=dict(dataset=dict(
        _delete_=True,
        type='JoinedDataset',
        datasets=[
            dict(index='work_dirs/study-camvid/frames.arrow', **common),
            dict(index='work_dirs/study-camvid/surround.arrow', **common),
        ])))
