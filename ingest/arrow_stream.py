"""One block of rows as ClickHouse takes it: format `ArrowStream`."""

import pyarrow as pa


def arrow_stream(rows: pa.RecordBatch) -> pa.Buffer:
    """The rows as an Arrow stream of one record batch, hence one block."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    return sink.getvalue()
