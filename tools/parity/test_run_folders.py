"""Tests of the comparison: what it must call the same, close, and different."""

import json
import shutil
import struct
import tempfile
import unittest
import zipfile
from pathlib import Path

import cases
import compare_versions
import run_folders


def npy(values, kind="f8", shape=None):
    header = f"{{'descr': '<{kind}', 'fortran_order': False, 'shape': {shape or (len(values),)}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    data = struct.pack(f"<{len(values)}{dict(f8='d', f4='f', f2='e', i8='q')[kind]}", *values)
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def safetensors(kind, data, shape):
    header = json.dumps({"x": {"dtype": kind, "shape": shape, "data_offsets": [0, len(data)]}}).encode()
    return struct.pack("<Q", len(header)) + header + data


class Folders(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.TemporaryDirectory()
        self.addCleanup(self.root.cleanup)

    def compare(self, name, before, after, **options):
        """Two folders of one file each, or of none."""
        for side in ("before", "after"):
            shutil.rmtree(Path(self.root.name, side), ignore_errors=True)
            Path(self.root.name, side).mkdir()
        for side, content in (("before", before), ("after", after)):
            path = Path(self.root.name, side, name)
            if content is not None:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
        found = run_folders.Comparison(**options)
        run_folders.compare_folders(found, *(Path(self.root.name, side) for side in ("before", "after")))
        return found

    def test_arrays_of_equal_bytes_are_the_same(self):
        found = self.compare("a.npy", npy([1.0, 2.0]), npy([1.0, 2.0]))
        self.assertEqual((compare_versions.verdict(found)[0], found.files), ("same", 1))

    def test_the_last_bit_of_a_sum_is_close_and_is_measured(self):
        found = self.compare("a.npy", npy([1.0, 2.0]), npy([1.0, 2.0 * (1 + 2**-52)]))
        self.assertEqual(found.different, [])
        self.assertAlmostEqual(found.worst, 2**-52, delta=2**-60)

    def test_a_number_beyond_the_tolerance_is_different_and_its_place_is_named(self):
        values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        changed = [*values[:4], 5.0 + 1e-9, 6.0]
        found = self.compare("a.npy", npy(values, shape=(2, 3)), npy(changed, shape=(2, 3)))
        self.assertTrue(found.different[0].startswith("a.npy[1, 1]: 5.0 became"), found.different)

    def test_whole_numbers_are_never_close(self):
        big = 10**15
        self.assertEqual(len(self.compare("a.npy", npy([big], "i8"), npy([big + 1], "i8")).different), 1)
        self.assertEqual(len(self.compare("t.csv", f"n\n{big}\n", f"n\n{big + 1}\n").different), 1)

    def test_not_a_number_equals_only_itself(self):
        nan = float("nan")
        self.assertEqual(self.compare("a.npy", npy([nan, 1.0]), npy([nan, 1.0 + 2**-52])).different, [])
        self.assertEqual(len(self.compare("b.npy", npy([nan]), npy([1.0])).different), 1)

    def test_shape_and_type_count(self):
        self.assertEqual(len(self.compare("a.npy", npy([1.0] * 4, shape=(2, 2)), npy([1.0] * 4)).different), 1)
        self.assertEqual(len(self.compare("b.npy", npy([1.0]), npy([1.0], "f4")).different), 1)

    def test_half_precision_is_read(self):
        data = struct.pack("<2H", 0x3F80, 0x4000)  # 1 and 2 in bf16
        other = struct.pack("<2H", 0x3F80, 0x4040)
        found = self.compare("s.safetensors", safetensors("BF16", data, [2]), safetensors("BF16", other, [2]))
        self.assertIn("s.safetensors:x[1]: 2.0 became 3.0", found.different[0])

    def test_arrays_of_an_archive(self):
        def archive(value):
            path = Path(self.root.name, "x.npz")
            with zipfile.ZipFile(path, "w") as file:
                file.writestr("h.npy", npy([1.0, value], "f2"))
            return path.read_bytes()

        found = self.compare("s.npz", archive(2.0), archive(2.5))
        self.assertIn("s.npz:h[1]: 2.0 became 2.5", found.different[0])

    def test_cells_of_a_table(self):
        before = "relation,head,accuracy\nnsubj,L0H1,0.5\nobj,L1H0,0.25\n"
        found = self.compare("t.csv", before, before.replace("0.25", "0.26"))
        self.assertEqual(found.different, ["t.csv:accuracy, row 2: '0.25' became '0.26'"])
        found = self.compare("t.csv", before, before.replace("L1H0", "L1H1"))
        self.assertEqual(found.different, ["t.csv:head, row 2: 'L1H0' became 'L1H1'"])
        self.assertEqual(len(self.compare("t.csv", before, before.replace("nsubj,L0H1,0.5\n", "")).different), 1)

    def test_missing_files_differ_and_new_ones_are_notes(self):
        found = self.compare("a.npy", npy([1.0]), None)
        self.assertEqual(found.different, ["folder: file 'a.npy' is missing"])
        found = self.compare("a.npy", None, npy([1.0]))
        self.assertEqual((found.different, found.notes), ([], ["folder: file 'a.npy' added"]))

    def test_the_record_of_a_run(self):
        def record(**changes):
            return json.dumps({"seconds": {"load": 1.0}, "bertology": "0.1.0", "results": {"loss": 0.5}} | changes)

        self.assertEqual(self.compare("run.json", record(), record(seconds=3, bertology="0.2.0")).different, [])
        found = self.compare("run.json", record(), record(account={}))
        self.assertEqual((found.different, found.notes), ([], ["run.json: account added"]))
        found = self.compare("run.json", record(), record(results={"loss": 0.5001}))
        self.assertEqual(found.different, ["run.json: results.loss: 0.5 became 0.5001"])
        self.assertEqual(len(self.compare("run.json", record(), record(results={})).different), 1)
        # Elsewhere no key is passed over.
        self.assertEqual(len(self.compare("index.json", record(), record(seconds=3)).different), 1)

    def test_an_option_named_format_counts_and_the_format_of_the_folder_does_not(self):
        self.assertEqual(self.compare("run.json", '{"format": 1}', '{"format": 2}').different, [])
        before, after = ('{"options": {"format": "%s"}}' % name for name in ("npz", "parquet"))
        self.assertEqual(len(self.compare("run.json", before, after).different), 1)

    def test_figures(self):
        self.assertEqual(len(self.compare("f.svg", '<rect x="1.5"/>', '<rect x="1.6"/>').different), 1)
        self.assertEqual(len(self.compare("f.svg", '<rect x="1.5"/>', '<line x="1.5"/>').different), 1)

    def test_bytes_that_nobody_can_read(self):
        self.assertEqual(self.compare("x.bin", b"\xff1", b"\xff2").different, ["x.bin: other bytes"])

    def test_looser_places(self):
        before, after = "probe,uas\nwords,0.61\n", "probe,uas\nwords,0.612\n"
        self.assertEqual(self.compare("probes.csv", before, after, looser=[("uas", 0.003)]).different, [])
        self.assertEqual(len(self.compare("probes.csv", before, after, looser=[("uas", 0.001)]).different), 1)

    def test_a_change_that_is_meant_is_a_note(self):
        before, after = '{"identity": {"a": 1}, "b": 2}', '{"identity": {}, "b": 2}'
        found = self.compare("run.json", before, after, looser=[(r": identity\.", "any")])
        self.assertEqual((found.different, len(found.notes)), ([], 1))
        self.assertEqual(len(self.compare("run.json", before, after, looser=[(r": c\.", "any")]).different), 1)

    def test_parts_must_have_the_very_bytes(self):
        folders = [Path(self.root.name, side) for side in ("before", "after")]
        self.compare("a.npy", npy([1.0]), npy([1.0 + 2**-52]))
        self.assertEqual(run_folders.same_bytes(*folders).different, ["a.npy: other bytes"])
        self.compare("a.npy", npy([1.0]), npy([1.0]))
        self.assertEqual(run_folders.same_bytes(*folders).different, [])
        self.compare("state.json", None, "{}")
        self.assertEqual(len(run_folders.same_bytes(*folders).different), 1)


class Cases(unittest.TestCase):
    def test_names_are_unique_and_what_a_case_reads_comes_before_it(self):
        models = [(Path("mini-mrpc"), "mrpc"), (Path("other"), None)]
        seen = set()
        for case in cases.table(models, Path("glue"), [Path("dev.conllu"), Path("test.conllu")]):
            self.assertNotIn(case.name, seen)
            self.assertLessEqual({*case.needs, *case.old}, seen, case.name)
            seen.add(case.name)

    def test_every_command_is_run(self):
        commands = {case.arguments[0] for case in cases.table([], None, [])}
        self.assertEqual(len(commands), 18, sorted(commands))


if __name__ == "__main__":
    unittest.main()
