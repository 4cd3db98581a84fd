"""A module that pydicom 3 no longer has and pydicom-seg, which MONAI Label 0.8.5 imports, still asks for.

Importing this makes ``pydicom._storage_sopclass_uids`` importable. It holds the storage SOP classes, as it did.
"""

import sys
import types

import pydicom.uid

_NAME = "pydicom._storage_sopclass_uids"

if _NAME not in sys.modules:
    _module = types.ModuleType(_NAME)
    vars(_module).update({name: getattr(pydicom.uid, name) for name in dir(pydicom.uid) if name.endswith("Storage")})
    sys.modules[_NAME] = _module
