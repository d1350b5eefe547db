import sys
from pathlib import Path

# The toys are named by configs, which import them by name, in this process and in others.
sys.path.insert(0, str(Path(__file__).parent))
