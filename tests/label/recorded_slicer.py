"""As much of 3D Slicer as a scripted module needs to run without it: it records, and reads and writes real NIfTI.

Strict where the real one is: widgets know only Qt's names, and everything but plain Python wants the main thread.
"""

import sys
import threading
from types import ModuleType, SimpleNamespace

import nibabel
import numpy as np


def _main_thread_only():
    assert threading.current_thread() is threading.main_thread(), "Slicer is used outside the main thread"


class _Widget:
    """A widget whose attributes are Qt properties, methods recorded, signals fired by tests."""

    properties = ("text", "enabled", "toolTip")
    signals = ()

    def __init__(self, *args):
        super().__setattr__("slots", {})
        super().__setattr__("rows", [])
        self.text = args[0] if args and isinstance(args[0], str) else ""
        self.enabled = True

    def __setattr__(self, name, value):
        _main_thread_only()
        assert name in self.properties, f"{type(self).__name__} has no property {name}"
        super().__setattr__(name, value)

    def connect(self, signal, slot):
        assert signal in self.signals, f"{type(self).__name__} has no signal {signal}"
        self.slots[signal] = slot

    def setToolTip(self, text):  # noqa: N802
        self.toolTip = text


class _Label(_Widget):
    def setWordWrap(self, wrap):  # noqa: N802
        assert wrap is True


class _LineEdit(_Widget):
    Password = 2
    properties = (*_Widget.properties, "echoMode")

    def setEchoMode(self, mode):  # noqa: N802
        self.echoMode = mode


class _Button(_Widget):
    signals = ("clicked()",)

    def click(self):
        assert self.enabled, f"{self.text} cannot be pressed now"
        self.slots["clicked()"]()


class _CheckBox(_Widget):
    properties = (*_Widget.properties, "checked")


class _Number(_Widget):
    properties = (*_Widget.properties, "minimum", "maximum", "singleStep", "value")
    signals = ("valueChanged(double)",)

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "value" and "valueChanged(double)" in self.slots:
            self.slots["valueChanged(double)"](value)


class _ComboBox(_Widget):
    signals = ("currentIndexChanged(int)",)
    properties = (*_Widget.properties, "currentIndex")

    def __init__(self):
        super().__init__()
        self.currentIndex = -1

    def addItem(self, text):  # noqa: N802
        self.rows.append(text)
        if self.currentIndex < 0:
            self.select(0)

    def clear(self):
        self.rows.clear()
        self.select(-1)

    def select(self, index):
        self.currentIndex = index
        if self.slots:
            self.slots["currentIndexChanged(int)"](index)

    @property
    def currentText(self):  # noqa: N802
        return self.rows[self.currentIndex] if self.currentIndex >= 0 else ""


class _Layout(_Widget):
    def addWidget(self, widget):  # noqa: N802
        self.rows.append(widget)

    def addRow(self, *items):  # noqa: N802
        assert len(items) in (1, 2)
        self.rows.append(items)

    def removeRow(self, index):  # noqa: N802
        del self.rows[index]

    def rowCount(self):  # noqa: N802
        return len(self.rows)

    def addStretch(self, stretch):  # noqa: N802
        pass


class _Section(_Widget):
    properties = (*_Widget.properties, "collapsed")


class _Timer(_Widget):
    signals = ("timeout()",)
    properties = (*_Widget.properties, "running", "interval")

    def setInterval(self, milliseconds):  # noqa: N802
        self.interval, self.running = milliseconds, False

    def start(self):
        self.running = True

    def stop(self):
        self.running = False

    def fire(self):
        if self.running:
            self.slots["timeout()"]()


class _NodeComboBox(_Widget):
    signals = ("currentNodeChanged(vtkMRMLNode*)",)
    properties = (
        *_Widget.properties,
        *("nodeTypes", "showChildNodeTypes", "addEnabled", "removeEnabled", "showHidden", "noneEnabled"),
        *("selectNodeUponCreation", "node"),
    )

    def setMRMLScene(self, scene):  # noqa: N802
        self.node = None

    def currentNode(self):  # noqa: N802
        return self.node

    def select(self, node):
        self.node = node
        self.slots["currentNodeChanged(vtkMRMLNode*)"](node)


class _Matrix:
    def __init__(self):
        self.elements = np.eye(4)

    def GetElement(self, row, column):  # noqa: N802
        return float(self.elements[row, column])


class _ImageData:
    def __init__(self, array=None):
        self.array = array

    def SetDimensions(self, *shape):  # noqa: N802
        self.array = np.zeros(shape)

    def AllocateScalars(self, kind, components):  # noqa: N802
        assert components == 1
        self.array = self.array.astype(kind)

    def SetScalarComponentFromDouble(self, i, j, k, component, value):  # noqa: N802
        self.array[i, j, k] = value

    def GetDimensions(self):  # noqa: N802
        return self.array.shape


class _Display:
    automatic, window, level = True, None, None

    def SetAutoWindowLevel(self, automatic):  # noqa: N802
        self.automatic = automatic

    def SetWindowLevel(self, window, level):  # noqa: N802
        self.window, self.level = window, level

    def GetWindow(self):  # noqa: N802
        return self.window


class Volume:
    """A ``vtkMRMLScalarVolumeNode``: ``array`` (I, J, K), ``affine`` from voxels to RAS mm, ``units`` in UCUM."""

    def __init__(self, name, array=None, affine=None, storage=None):
        self.name, self.image, self.affine = name, _ImageData(array) if array is not None else None, affine
        self.storage, self.transform, self.attributes, self.display = storage, None, {}, None
        self.units = None

    def __getattribute__(self, name):
        if name[0].isupper():
            _main_thread_only()
        return super().__getattribute__(name)

    def GetClassName(self):  # noqa: N802
        return "vtkMRMLScalarVolumeNode"

    def GetName(self):  # noqa: N802
        return self.name

    def SetName(self, name):  # noqa: N802
        self.name = name

    def GetID(self):  # noqa: N802
        return f"node{id(self)}"

    def GetImageData(self):  # noqa: N802
        return self.image

    def SetAndObserveImageData(self, image):  # noqa: N802
        self.image = image

    def GetSpacing(self):  # noqa: N802
        return tuple(np.linalg.norm(self.affine[:3, :3], axis=0))

    def SetSpacing(self, *spacing):  # noqa: N802
        self.affine = np.diag([*spacing, 1.0])

    def SetOrigin(self, *origin):  # noqa: N802
        self.affine[:3, 3] = origin

    def GetIJKToRASMatrix(self, matrix):  # noqa: N802
        matrix.elements = self.affine.copy()

    def SetIJKToRASMatrix(self, matrix):  # noqa: N802
        self.affine = matrix.elements.copy()

    def GetTransformNodeID(self):  # noqa: N802
        return self.transform

    def SetAndObserveTransformNodeID(self, transform):  # noqa: N802
        self.transform = transform

    def GetAttribute(self, key):  # noqa: N802
        return self.attributes.get(key)

    def SetAttribute(self, key, value):  # noqa: N802
        self.attributes[key] = value

    def GetVoxelValueUnits(self):  # noqa: N802
        if self.units is None:
            return None
        return SimpleNamespace(GetCodeValue=lambda: self.units, GetCodeMeaning=lambda: "a meaning")

    def GetStorageNode(self):  # noqa: N802
        return self.storage

    def SetAndObserveStorageNodeID(self, storage):  # noqa: N802
        self.storage = storage

    def CreateDefaultDisplayNodes(self):  # noqa: N802
        self.display = self.display or _Display()

    def GetDisplayNode(self):  # noqa: N802
        return self.display


class _Scene:
    def __init__(self):
        self.nodes = []

    def Clear(self, singletons):  # noqa: N802
        self.nodes.clear()

    def AddNewNodeByClass(self, kind, name=""):  # noqa: N802
        assert kind in ("vtkMRMLScalarVolumeNode", "vtkMRMLLinearTransformNode")
        self.nodes.append(Volume(name))
        return self.nodes[-1]

    def RemoveNode(self, node):  # noqa: N802
        self.nodes.remove(node)

    def IsNodePresent(self, node):  # noqa: N802
        return node in self.nodes

    def GenerateUniqueName(self, name):  # noqa: N802
        taken = {node.name for node in self.nodes if isinstance(node, Volume)}
        return name if name not in taken else f"{name}_1"


class RecordedSlicer:
    """The modules ``slicer``, ``qt``, ``ctk``, ``vtk`` for ``sys.modules``, and what was asked of them.

    ``errors`` are the messages shown, ``layers`` the calls of ``setSliceViewerLayers``, ``settings`` what is kept,
    ``dicom`` the DICOM database: (SOPInstanceUID, tag) -> value.
    """

    def __init__(self, folder):
        self.scene, self.errors, self.layers, self.settings, self.chosen_file = _Scene(), [], [], {}, ""
        self.dicom = {}
        self.util = util = SimpleNamespace(
            exportNode=self._export,
            saveNode=self._save,
            loadVolume=self._load,
            setSliceViewerLayers=self._set_layers,
            errorDisplay=lambda text, windowTitle=None: self.errors.append(text),
        )
        app = SimpleNamespace(temporaryPath=str(folder))
        database = SimpleNamespace(instanceValue=lambda uid, tag: self.dicom.get((uid, tag), ""))
        self.modules = {
            "slicer": _module(
                "slicer",
                mrmlScene=self.scene,
                util=util,
                app=app,
                dicomDatabase=database,
                qMRMLNodeComboBox=_NodeComboBox,
                __path__=[],
            ),
            "slicer.ScriptedLoadableModule": _scripted_module(),
            "vtk": _module("vtk", vtkMatrix4x4=_Matrix, vtkImageData=_ImageData, VTK_FLOAT=np.float32),
            "ctk": _module("ctk", ctkCollapsibleButton=_Section, ctkSliderWidget=_Number),
            "qt": _module(
                "qt",
                QLabel=_Label,
                QLineEdit=_LineEdit,
                QPushButton=_Button,
                QCheckBox=_CheckBox,
                QSpinBox=_Number,
                QDoubleSpinBox=_Number,
                QComboBox=_ComboBox,
                QFormLayout=_Layout,
                QTimer=_Timer,
                QFileDialog=SimpleNamespace(getOpenFileName=lambda parent, title: self.chosen_file),
                QSettings=lambda: SimpleNamespace(value=self.settings.get, setValue=self.settings.__setitem__),
            ),
        }

    def install(self, monkeypatch):
        """Let ``import slicer`` and the like find these."""
        for name, module in self.modules.items():
            monkeypatch.setitem(sys.modules, name, module)

    def add(self, name, array, affine):
        """Put a volume into the scene, as a user does."""
        self.scene.nodes.append(Volume(name, array, affine))
        return self.scene.nodes[-1]

    def _export(self, node, filename, properties=None, world=False):
        _main_thread_only()
        nibabel.save(nibabel.Nifti1Image(node.image.array, node.affine), filename)
        return True

    def _save(self, node, filename, properties=None):
        """As the real one: from now on the node belongs to this file."""
        self._export(node, filename)
        if node.storage is None:
            node.storage = SimpleNamespace(file=filename)
            self.scene.nodes.append(node.storage)
        node.storage.file = filename
        return True

    def _load(self, filename, properties=None):
        _main_thread_only()
        assert properties["labelmap"] is False
        image = nibabel.load(filename)
        array = np.asanyarray(image.dataobj).copy()
        node = Volume(properties["name"], array, image.affine, storage=SimpleNamespace(file=filename))
        node.CreateDefaultDisplayNodes()
        self.scene.nodes += [node, node.storage]
        return node

    def _set_layers(self, background="keep", foreground="keep", label="keep", foregroundOpacity=None):
        _main_thread_only()
        assert label == "keep"
        self.layers.append((background, foreground, foregroundOpacity))


def _module(name, **names):
    module = ModuleType(name)
    module.__dict__.update(names)
    return module


def _scripted_module():
    class Module:
        def __init__(self, parent):
            self.parent = parent

    class Widget:
        def __init__(self, parent=None):
            self.layout = _Layout()

        def setup(self):
            pass

    return _module(
        "slicer.ScriptedLoadableModule",
        ScriptedLoadableModule=Module,
        ScriptedLoadableModuleWidget=Widget,
        ScriptedLoadableModuleLogic=type("Logic", (), {}),
        ScriptedLoadableModuleTest=type("Test", (), {}),
    )
