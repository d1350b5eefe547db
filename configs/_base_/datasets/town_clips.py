# Clips of the generated town, small enough for two CPU cores: two time steps, three front cameras.
_base_ = './nuscenes_clips.py'

train_dataloader = dict(
    num_workers=1, pin_memory=False,
    dataset=dict(
        index='work_dirs/demo/town.arrow',
        scenes='mini_train',
        cameras=('CAM_FRONT_LEFT', 'CAM_FRONT', 'CAM_FRONT_RIGHT'),
        num_frames=2,
        frame_interval=0.5,
        image_size=(192, 320)))
