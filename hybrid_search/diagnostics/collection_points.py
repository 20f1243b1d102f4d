"""Checks of what a store holds of a collection, on its survey: vectors, searches, fields, segments, points."""

from __future__ import annotations

from collections.abc import Iterator

from hybrid_search.diagnostics.diagnosis import Diagnosis, about
from hybrid_search.encoders.catalog import card
from hybrid_search.errors import ModelError
from hybrid_search.manifest import LegSpec, Manifest
from hybrid_search.store.schema import FIXED_FIELDS, FieldType, new_fields
from hybrid_search.store.survey import PROBE_DEPTH, PointScan, Probe, Survey
from hybrid_search.types import Point

INDEXED_FROM_BYTES = 20_000 * 1024
"""Dense vectors of one segment that engines search without an index: Qdrant's largest default `indexing_threshold`."""

USUAL_SEGMENTS, SMALL_SEGMENT = 64, 1_000
"""Segments that any collection may have (a server starts with one a core), and points of one that is worth having."""

SAME_SCORE = 1e-3

_KINDS = {
    "foreign": ("{} without our payload: another program writes into the collection", "problem"),
    "misplaced": ("{} under the id of another chunk: another program copied them", "problem"),
    "duplicates": ("{} there twice, so searches show them twice", "problem"),
    "headless": ("{} without their first chunk, so they are neither listed nor updated", "problem"),
    "incomplete": ("{} with another number of chunks than their first one says", "problem"),
    "unfinished": ("{} that a job began and did not finish", "warning"),
}
_NOUNS = {"foreign": "point", "misplaced": "chunk", "duplicates": "chunk"}


def check_points(name: str, survey: Survey) -> Iterator[Diagnosis]:
    """Yield every finding on what the store holds."""
    subject = f"collection {name}"
    yield from check_idf(name, subject, survey)
    if survey.split:
        text = f"answers are distorted: each of {survey.split} shards weighs terms by its own documents alone"
        yield Diagnosis("shards", subject, "problem", text, rebuild(name, survey.manifest))
    yield from check_vectors(name, subject, survey)
    yield from check_searches(name, subject, survey)
    yield from check_fields(name, subject, survey)
    yield check_segments(name, subject, survey)
    yield from check_ids(name, subject, survey)
    if survey.limits:
        yield Diagnosis("strict mode", subject, "ok", f"the server limits requests: {survey.limits}")


def rebuild(name: str, manifest: Manifest) -> str:
    """Return the command that builds a collection anew; under a new name if another program writes this one."""
    return f"hybrid-search index SOURCE -c {'NEW_NAME' if manifest.adopted else f'{name} --replace'}"


def check_idf(name: str, subject: str, survey: Survey) -> Iterator[Diagnosis]:
    """Compare the IDF modifier of each sparse vector in the store with what the leg and its model need."""
    names = survey.manifest.vectors()
    for leg, spec in survey.manifest.legs.items():
        if spec.dim:
            continue
        here = survey.idf.get(names[leg])
        needed = _needs_idf(spec, survey.manifest)
        command = rebuild(name, survey.manifest)
        if here is None:
            text = f"the store has no sparse vector {names[leg]!r} for the leg {leg}"
            yield Diagnosis("idf", subject, "problem", text, command)
        elif here and not needed:
            text = f"the store multiplies {leg} by inverse document frequencies, which {spec.model} has in its weights"
            yield Diagnosis("idf", subject, "problem", text, command)
        elif needed and not here:
            text = f"{spec.model} needs inverse document frequencies, and the store does not multiply {leg} by them"
            yield Diagnosis("idf", subject, "problem", text, command)
        else:
            how = "multiplied by the store" if here else "not multiplied by the store"
            yield Diagnosis("idf", subject, "ok", f"{leg}: {how}, as its weights from {spec.model} need")


def _needs_idf(spec: LegSpec, manifest: Manifest) -> bool:
    """Say whether a leg needs inverse document frequencies.

    The manifest of an adopted collection says what the store does, so its model is asked. That of ours says what the
    weights need: those of an import may have the frequencies in them already, though its model would need them.
    """
    try:
        model = card(spec.model, "sparse")
    except ModelError:
        return spec.needs_idf
    if model.runtime == "terms" or not manifest.adopted:
        return spec.needs_idf
    return model.needs_idf


def check_vectors(name: str, subject: str, survey: Survey) -> Iterator[Diagnosis]:
    """Count the chunks without a vector of each leg. A sparse leg may lack some: a text without any term has none."""
    for leg, spec in survey.manifest.legs.items():
        missing = survey.points - survey.vectors.get(leg, 0)
        text = f"{leg}: {about(missing, 'chunk')} of {survey.points:,} without a vector"
        command = rebuild(name, survey.manifest)
        if missing and spec.dim:
            yield Diagnosis("vectors", subject, "problem", text, command)
        elif missing and missing == survey.points:
            yield Diagnosis("vectors", subject, "problem", f"{text}, so the leg finds nothing", command)
        elif missing * 10 > survey.points and missing > 1:
            yield Diagnosis("vectors", subject, "warning", f"{text}: texts in which the model finds no term", command)
        else:
            legitimate = ": texts in which the model finds no term" if missing else ""
            yield Diagnosis("vectors", subject, "ok", text + legitimate)


def check_searches(name: str, subject: str, survey: Survey) -> Iterator[Diagnosis]:
    """Report on searching each leg by the vector of a chunk that it holds."""
    if survey.manifest.adopted:
        yield Diagnosis("known document", subject, "unchecked", "its points are another program's")
        return
    probed = {probe.leg: probe for probe in survey.probes}
    for leg, spec in survey.manifest.legs.items():
        probe = probed.get(leg)
        if probe is None:
            if survey.points:
                text = f"{leg}: none of the chunks that were tried has a vector"
                yield Diagnosis("known document", subject, "unchecked", text)
        elif (problem := _missed(probe, bool(spec.dim))) is not None:
            text = f"{leg}: searched by the vector of {probe.chunk_id!r}, {problem}"
            yield Diagnosis("known document", subject, "problem", text, rebuild(name, survey.manifest))
        else:
            where = f"at rank {probe.rank}" if probe.rank else f"below rank {PROBE_DEPTH}, as its score says"
            yield Diagnosis(
                "known document", subject, "ok", f"{leg}: {probe.chunk_id!r} is found by its vector {where}"
            )


def _missed(probe: Probe, is_dense: bool) -> str | None:
    """Return what is wrong with a search; None for nothing.

    A unit vector is nearest to itself, so a chunk comes first, or among others of the same score. Sparse weights have
    no fixed length, so other chunks may score higher; then this one still has to be where its score puts it.
    """
    if probe.own is None:
        return "it is not found, even when no other is asked for"
    if is_dense and probe.own < 1 - SAME_SCORE:
        return f"its score is {probe.own:.3f}, and a vector's own is 1"
    if not probe.rank and (probe.last is None or probe.last < probe.own - SAME_SCORE * max(1.0, abs(probe.own))):
        return f"it is not among the first {PROBE_DEPTH}, where its score of {probe.own:.3f} belongs"
    return None


def check_fields(name: str, subject: str, survey: Survey) -> Iterator[Diagnosis]:
    """Look in a sample of the chunks for fields that a filter would want an index of."""
    if survey.fields is None or survey.manifest.adopted:
        why = "its points are another program's" if survey.manifest.adopted else "this store has no indexes of fields"
        yield Diagnosis("filter fields", subject, "unchecked", why)
        return
    kinds: dict[str, FieldType] = dict(survey.fields)  # type: ignore[arg-type]
    usable = [payload for payload in survey.sample if isinstance(payload.get("metadata"), dict)]
    missing = new_fields((Point(str(one.get("chunk_id")), {}, one) for one in usable), kinds)
    missing |= {path: kind for path, kind in FIXED_FIELDS.items() if path not in kinds}
    if missing:
        text = f"without an index, so filters on them read every chunk: {', '.join(sorted(missing))}"
        yield Diagnosis("filter fields", subject, "warning", text, rebuild(name, survey.manifest))
    else:
        text = f"{about(len(kinds), 'field')} with an index; seen in a sample of {about(len(usable), 'chunk')}"
        yield Diagnosis("filter fields", subject, "ok", text)


def check_segments(name: str, subject: str, survey: Survey) -> Diagnosis:
    """Judge whether the store's segments have their indexes, and are not too many."""
    again = f"hybrid-search index SOURCE -c {'NEW_NAME' if survey.manifest.adopted else name}"
    if survey.trouble:
        return Diagnosis("segments", subject, "warning", survey.trouble, again)
    if survey.segments is None or survey.indexed is None:
        return Diagnosis("segments", subject, "unchecked", "the store does not tell of its segments")
    vectors = sum(survey.vectors.values())
    unindexed = max(0, vectors - survey.indexed)
    dim = max(spec.dim for spec in survey.manifest.legs.values()) or 1
    text = f"{about(survey.segments, 'segment')}, {survey.indexed:,} of {vectors:,} vectors in an index"
    if unindexed * dim * 4 > INDEXED_FROM_BYTES * max(1, survey.segments):
        return Diagnosis("segments", subject, "warning", f"{text}: searches compare with all the others", again)
    if survey.segments > USUAL_SEGMENTS + survey.points // SMALL_SEGMENT:
        return Diagnosis("segments", subject, "warning", f"{text}: many small ones make searches slow", again)
    return Diagnosis("segments", subject, "ok", text)


def check_ids(name: str, subject: str, survey: Survey) -> Iterator[Diagnosis]:
    """Report what the ids of the points say: foreign writers, incomplete documents, duplicates."""
    scan = survey.scan
    if scan is None:
        yield Diagnosis("points", subject, "unchecked", "its points are another program's")
        return
    found = False
    for kind, (words, state) in _KINDS.items():
        count = getattr(scan, kind)
        if count:
            found = True
            text = words.format(about(count, _NOUNS.get(kind, "document"))) + f", such as {scan.examples[kind]!r}"
            yield Diagnosis("points", subject, state, text, _command(name, kind))  # type: ignore[arg-type]
    if not found:
        yield Diagnosis("points", subject, "ok", _read(scan, survey))
    elif scan.read < survey.points:
        yield Diagnosis("points", subject, "unchecked", _read(scan, survey))


def _command(name: str, kind: str) -> str:
    again = f"hybrid-search index SOURCE -c {name}"
    return again if kind == "unfinished" else f"{again} --replace"


def _read(scan: PointScan, survey: Survey) -> str:
    if scan.read < survey.points:
        rest = "whether documents have all their chunks is left to --deep"
        return f"the ids of {scan.read:,} of {survey.points:,} chunks were read; {rest}"
    return f"{about(survey.points, 'chunk')} of {about(survey.documents, 'document')}, each where it belongs"
