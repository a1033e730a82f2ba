"""What all docks have: they scroll, share a tab, say one line to the user, and end when they are closed for good."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from html import escape
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from napari.settings import get_settings
from napari.utils.notifications import show_error
from napari.utils.theme import get_theme
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt, QTimer, QUrl
from qtpy.QtGui import QFontInfo, QHideEvent, QShowEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QDockWidget,
    QFrame,
    QLabel,
    QMainWindow,
    QScrollArea,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from .named_text import NamedText

#: What napari adds to the name of a plugin's dock, opened from code or from its menu; with it, the title does not fit.
_PLUGIN = re.compile(r" \((napari-mrtrans|MR contrast transformation)\)$")
#: How wide a form must be for text of so many pixels, the usual size of napari's labels; larger text needs more.
_FORM, _TEXT = 340, 13
#: Of links, on napari's light and dark backgrounds.
_LINKS = {"light": "#1f4fa8", "dark": "#7aa2f7"}


def _nothing() -> None:
    """Nothing is going on."""


class AtEnd:
    """What a dock has going on, told to stop when the dock is destroyed with its window, while others stay open.

    Attributes:
        stop: Called then, from any state: it must not need the dock.
    """

    def __init__(self) -> None:
        self.stop: Callable[[], object] = _nothing

    def __call__(self, _: object = None) -> None:
        """The dock is destroyed."""
        self.stop()


class Dock(QWidget):
    """A dock of napari's window."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.message = NamedText()
        self.message.setOpenExternalLinks(True)
        self._placed = False
        self._content: QWidget | None = None
        self._narrowest = 0
        self._at_end = AtEnd()
        self.destroyed.connect(self._at_end)

    def _scroll(self, column: QVBoxLayout, width: int) -> None:
        """Show ``column``, at least ``width`` pixels wide, in whatever height the window has for it."""
        content = self._content = QWidget()
        content.setLayout(column)
        self._narrowest = width
        area = self._area = QScrollArea()
        area.setWidget(content)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(area)
        self._fit_width()
        for kind in (QComboBox, QAbstractSpinBox, QSlider):
            for field in content.findChildren(kind):
                field.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                field.installEventFilter(self)

    def _fit_width(self) -> None:
        """As wide as was asked for, or as a form needs whose labels would be cut: napari's text may be larger."""
        if self._content is None:
            return
        self.message.ensurePolished()
        width = max(self._narrowest, round(_FORM * QFontInfo(self.message.font()).pixelSize() / _TEXT))
        bar = self._area.verticalScrollBar()
        self._content.setMinimumWidth(width)
        self.setMinimumWidth(width + (bar.sizeHint().width() if bar is not None else 0))

    def changeEvent(self, event: QEvent | None) -> None:
        """The window's text may have got another size."""
        super().changeEvent(event)
        if event is not None and event.type() in (QEvent.Type.StyleChange, QEvent.Type.FontChange):
            self._fit_width()

    def _stack(self, widgets: Iterable[QWidget], width: int, tall: QWidget | None = None) -> None:
        """Show ``widgets`` below one another, and the line at the foot; ``tall`` takes the height that is left."""
        column = QVBoxLayout()
        column.setSpacing(8)
        for widget in widgets:
            column.addWidget(widget, int(widget is tall))
        column.addStretch(int(tall is None))
        column.addWidget(research_note())
        self._scroll(column, width)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Scrolling over a choice scrolls the dock; it must not change the choice."""
        wheel = event is not None and event.type() == QEvent.Type.Wheel
        if event is not None and wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return bool(super().eventFilter(watched, event))

    def showEvent(self, event: QShowEvent | None) -> None:
        """The first time, it takes its place in the window."""
        super().showEvent(event)
        self._fit_title()
        if not self._placed:
            QTimer.singleShot(0, self._take_place)

    def _take_place(self) -> None:
        """One tab beside the docks of this plugin that have theirs, not below them, with a title that fits."""
        mine = self.parent() if isalive(self) and not self._placed else None
        window = mine.parent() if isinstance(mine, QDockWidget) else None
        if not isinstance(mine, QDockWidget) or not isinstance(window, QMainWindow):
            return
        self._placed = True
        # napari makes the title bar anew at each of these
        for changed in (mine.visibilityChanged, mine.topLevelChanged, mine.dockLocationChanged):
            changed.connect(self._fit_title_later)
        self._fit_title()
        for other in window.findChildren(QDockWidget):
            widget = other.widget()
            ours = other is not mine and isinstance(widget, Dock) and widget._placed and other.isVisible()
            if ours and not other.isFloating() and window.dockWidgetArea(other) == window.dockWidgetArea(mine):
                window.tabifyDockWidget(other, mine)
                mine.raise_()
                return

    def _fit_title_later(self, event: object = None) -> None:
        if isalive(self):
            QTimer.singleShot(0, self._fit_title)

    def _fit_title(self) -> None:
        mine = self.parent() if isalive(self) else None
        if isinstance(mine, QDockWidget):  # which its tab shows
            mine.setWindowTitle(_PLUGIN.sub("", mine.windowTitle()))
        title = getattr(mine.titleBarWidget(), "title", None) if isinstance(mine, QDockWidget) else None
        if isinstance(title, QLabel):
            title.setText(_PLUGIN.sub("", title.text()))

    def hideEvent(self, event: QHideEvent | None) -> None:
        """A dock closed for good has lost its parent once this event is over: then nobody could press Cancel."""
        super().hideEvent(event)

        def end_if_removed() -> None:
            if isalive(self) and self.parent() is None:
                self._end()

        # a function that holds the dock, or it may be collected before it has ended: nobody else holds a closed one
        QTimer.singleShot(0, end_if_removed)

    def _end(self) -> None:
        """Stop what is going on: the dock is gone."""

    def _say(self, text: str) -> None:
        self.message.setTextFormat(Qt.TextFormat.PlainText)
        self.message.setText(text)
        self.message.setVisible(bool(text))

    def _say_written(self, path: Path) -> None:
        """A page was written: say where, with a link that opens it in the browser."""
        url = QUrl.fromLocalFile(str(path.absolute())).toString(QUrl.ComponentFormattingOption.FullyEncoded)
        self.message.setTextFormat(Qt.TextFormat.RichText)
        link = f'<a href="{escape(url)}" style="{_link_style()}">Open it</a>'
        self.message.setText(f"Wrote '{escape(str(path))}'. {link}")
        self.message.show()

    def _complain(self, text: str) -> None:
        self._say(text)
        show_error(text)


def _link_style() -> str:
    theme = get_theme(get_settings().appearance.theme)
    return f"color: {_LINKS['light' if theme.id == 'light' else 'dark']}"


class _ResearchNote(QLabel):
    """Its link can be read on the window's background."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._url = help_url()
        self.setOpenExternalLinks(True)
        self.setToolTip(self._url)
        self._show()

    def _show(self) -> None:
        link = f' <a href="{self._url}" style="{_link_style()}">Help</a>' if self._url else ""
        self.setText(f"Research use only. Not for diagnosis.{link}")

    def changeEvent(self, event: QEvent | None) -> None:
        """The window may have got another theme."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.StyleChange:
            self._show()


def research_note() -> QLabel:
    """The line at the foot of a dock that shows results, with a link to where help is."""
    return _ResearchNote()


def help_url() -> str:
    """The documentation's address as the package states it, else that of the paper; empty where it states neither."""
    try:
        stated = metadata("napari-mrtrans").get_all("Project-URL") or []
    except PackageNotFoundError:
        stated = []
    urls = dict(str(line).split(", ", 1) for line in stated)
    return urls.get("Documentation", urls.get("Paper", ""))
