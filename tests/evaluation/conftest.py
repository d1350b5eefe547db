import sys
from pathlib import Path

# Helpers that several tests here import by name.
sys.path.insert(0, str(Path(__file__).parent))
