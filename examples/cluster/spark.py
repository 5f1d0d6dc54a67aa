"""One run as a job of Spark: each row of a small frame is a part, and `mapInPandas` makes it where Spark puts it.

    PARTS=64 OUT=out spark-submit spark.py importance MODEL --task mrpc --data GLUE

Every executor needs the package (`pip install`) and must see model, data and OUT under these paths. A part that fails is
tried again by Spark (`spark.task.maxFailures`), and goes on from what it had saved. Layers and heads count from 0.
"""

import os
import subprocess
import sys

PARTS = int(os.environ.get("PARTS", "8"))
OUT = os.environ.get("OUT", "out")
THREADS = os.environ.get("THREADS", "1")


def make(frames):
    """Makes the parts whose numbers, from 1, are in the column `part`."""
    for frame in frames:
        for part in frame["part"]:
            place = os.path.join(OUT, f"part-{part}")
            words = [*sys.argv[1:], "--part", f"{part}/{PARTS}", "--output", place, "--resume", "--threads", THREADS]
            subprocess.run([sys.executable, "-m", "bertology", *words], check=True)
        yield frame


def main():
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.appName("bertology").getOrCreate()
    parts = spark.range(1, PARTS + 1).withColumnRenamed("id", "part").repartition(PARTS)
    parts.mapInPandas(make, schema="part long").collect()
    places = [os.path.join(OUT, f"part-{part}") for part in range(1, PARTS + 1)]
    merged = os.path.join(OUT, "merged")
    subprocess.run([sys.executable, "-m", "bertology", "merge", *places, "--output", merged, "--overwrite"], check=True)


if __name__ == "__main__":
    main()
