"""Pictures of clips and masks, charts, and the HTML report."""

from drivemim.visualization.html_report import (
    Chart,
    Code,
    Picture,
    ReportSection,
    Table,
    Text,
    render_report,
    write_report,
)
from drivemim.visualization.panels import (
    clip_panel,
    draw_boxes,
    encode_image,
    fill_masked,
    overlay_mask,
    reconstruction_panel,
    save_image,
)
from drivemim.visualization.plots import (
    ap_bars,
    figure_svg,
    find_scalars,
    loss_curves,
    read_curve,
    save_figure,
)
from drivemim.visualization.score_plots import (
    miss_rate_chart,
    precision_recall_chart,
    reliability_chart,
    slice_bars,
)

__all__ = [
    "Chart",
    "Code",
    "Picture",
    "ReportSection",
    "Table",
    "Text",
    "ap_bars",
    "clip_panel",
    "draw_boxes",
    "encode_image",
    "figure_svg",
    "find_scalars",
    "fill_masked",
    "loss_curves",
    "overlay_mask",
    "miss_rate_chart",
    "precision_recall_chart",
    "read_curve",
    "reconstruction_panel",
    "reliability_chart",
    "render_report",
    "save_figure",
    "save_image",
    "slice_bars",
    "write_report",
]
