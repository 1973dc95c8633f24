"""Times worked out by hand from the round costs of conftest."""

from agewalk.core.cells import Cell, Object
from agewalk.core.effects import CompareExchange, FetchOr, Load, Step, Store, Work
from agewalk.timing.hardware.cache_lines import Line
from agewalk.timing.hardware.costs import CostTable
from agewalk.timing.machine import Machine

NS = 1000


def one(*effects: Load | Store | FetchOr | CompareExchange | Work) -> Step[None]:
    for effect in effects:  # noqa: UP028 (a tuple cannot be sent to)
        yield effect


def test_first_read_comes_from_memory_the_second_hits(costs: CostTable) -> None:
    cell = Cell(Object("o"), "x")
    machine = Machine(1, costs=costs)
    machine.spawn("t", one(Load(cell), Load(cell), Store(cell, 1), FetchOr(cell, 2)), cpu=0)
    assert machine.run() == ((100 + 1) + 1 + 1 + (1 + 5)) * NS
    assert machine.transfers == {"core": 0, "socket": 0, "memory": 1}


def test_streams_are_prefetched(costs: CostTable) -> None:
    table = Object("t")
    cells = [Cell(table, i) for i in range(24)]
    machine = Machine(1, costs=costs)
    machine.spawn("t", one(*(Load(c) for c in cells)), cpu=0)
    assert machine.run() == (100 + 25 + 25 + 24) * NS


def test_streams_are_prefetched_backwards_too(costs: CostTable) -> None:
    table = Object("t")
    cells = [Cell(table, i) for i in reversed(range(24))]
    machine = Machine(1, costs=costs)
    machine.spawn("t", one(*(Load(c) for c in cells)), cpu=0)
    assert machine.run() == (100 + 25 + 25 + 24) * NS


def test_what_was_pushed_out_of_its_owners_cache_comes_from_memory(costs: CostTable) -> None:
    """An entry of a table, written before the CPU zeroed a page, is in memory again; a field of a struct, used at each fault,
    is still with its owner."""
    entry, counter = Cell(Object("table"), 0), Cell(Object("struct"), "counter")
    for cell, latency in ((entry, 100), (counter, 50)):
        machine = Machine(2, costs=costs, cached=32)
        machine.spawn("writer", one(Store(cell, 1), Work("zero_page")), cpu=0)
        reader = machine.spawn("reader", one(Load(cell)), cpu=1, start=1000 * NS)
        assert machine.run() == (1000 + latency + 1) * NS
        assert reader.stall == latency * NS
    machine = Machine(2, costs=costs, cached=128)  # a cache with room for a page and more
    machine.spawn("writer", one(Store(entry, 2), Work("zero_page")), cpu=0)
    machine.spawn("reader", one(Load(entry)), cpu=1, start=1000 * NS)
    assert machine.run() == (1000 + 50 + 1) * NS


def test_a_modified_line_leaves_a_cache_that_others_crowd_before_its_owner_misses_it(costs: CostTable) -> None:
    """`modified`: what others still find there. The owner itself has it longer (`cached`)."""
    entry = Cell(Object("table"), 0)
    for again, took in ((Load(entry), 1), (FetchOr(entry, 1), 1 + 5)):
        machine = Machine(2, costs=costs, cached=1000, modified=32)
        machine.spawn("writer", one(Store(entry, 1), Work("zero_page"), Work("zero_page"), again), cpu=0)
        assert machine.run() == (1 + 2 * 180 + took) * NS
    machine = Machine(2, costs=costs, cached=1000, modified=32)
    machine.spawn("writer", one(Store(entry, 1), Work("zero_page")), cpu=0)
    machine.spawn("reader", one(Load(entry)), cpu=1, start=1000 * NS)
    assert machine.run() == (1000 + 100 + 1) * NS


def test_a_line_is_kept_for_a_moment_whatever_else_is_sent_for(costs: CostTable) -> None:
    """x arrives at 1050, and is kept until 1075; CPU 2 has asked for it by then, and CPU 1 has sent for y."""
    x, y = Cell(Object("o"), "x", 0), Cell(Object("p"), "y", 0)
    machine = Machine(3, costs=costs, window=0)
    machine.spawn("owner", one(Store(x, 0), Store(y, 0)), cpu=0)
    keeper = machine.spawn("keeper", one(FetchOr(x, 1), Store(y, 1), FetchOr(x, 2)), cpu=1, start=1000 * NS)
    other = machine.spawn("other", one(FetchOr(x, 4)), cpu=2, start=1010 * NS)
    machine.run()
    assert keeper.ended == (1050 + 6 + 1 + 6) * NS
    assert other.ended == (1056 + 50 + 6) * NS
    assert machine.transfers["core"] == 3


def test_a_copy_that_was_read_cannot_be_written_without_asking(costs: CostTable) -> None:
    cell = Cell(Object("o"), "x", 0)
    machine = Machine(2, costs=costs, window=0)
    machine.spawn("owner", one(Store(cell, 0)), cpu=0)
    thread = machine.spawn("reads, then writes", one(Load(cell), FetchOr(cell, 1)), cpu=1, start=1000 * NS)
    machine.run()
    assert thread.ended == (1000 + 50 + 1 + 50 + 6) * NS


def test_an_atomic_waits_for_the_line_that_a_store_sent_for(costs: CostTable) -> None:
    cell = Cell(Object("o"), "x", 0)
    machine = Machine(2, costs=costs, window=0)
    machine.spawn("owner", one(Store(cell, 0)), cpu=0)
    thread = machine.spawn("stores, then adds", one(Store(cell, 1), FetchOr(cell, 2)), cpu=1, start=1000 * NS)
    machine.run()
    assert thread.ended == (1000 + 50 + 6) * NS


def test_a_modified_line_is_fetched_from_its_owner(costs: CostTable) -> None:
    cell = Cell(Object("o"), "x")
    machine = Machine(2, costs=costs)
    machine.spawn("writer", one(Store(cell, 1)), cpu=0)
    reader = machine.spawn("reader", one(Load(cell)), cpu=1, start=1000 * NS)
    assert machine.run() == (1000 + 50 + 1) * NS
    assert reader.stall == 50 * NS


def test_sockets_are_far_apart(costs: CostTable) -> None:
    cell = Cell(Object("o"), "x")
    machine = Machine(5, costs=costs)  # four to a socket
    machine.spawn("writer", one(Store(cell, 1)), cpu=0)
    machine.spawn("reader", one(Load(cell)), cpu=4, start=1000 * NS)
    assert machine.run() == (1000 + 200 + 1) * NS
    assert machine.transfers["socket"] == 1


def test_atomics_on_one_line_follow_one_another(costs: CostTable) -> None:
    """Four CPUs want the line at once: the last has it after four transfers, the first of them from memory."""
    cell = Cell(Object("o"), "x")
    machine = Machine(4, costs=costs, window=0)
    for cpu in range(4):
        machine.spawn(f"t{cpu}", one(FetchOr(cell, 1)), cpu=cpu, start=cpu)
    assert machine.run() == (106 + 3 * 56) * NS


def test_clean_reads_overlap(costs: CostTable) -> None:
    cell = Cell(Object("o"), "x")
    machine = Machine(4, costs=costs, window=0)
    machine.spawn("first", one(Load(cell)), cpu=0)
    machine.spawn("shares", one(Load(cell)), cpu=1, start=200 * NS)
    for cpu in (2, 3):
        machine.spawn(f"t{cpu}", one(Load(cell)), cpu=cpu, start=1000 * NS + cpu)
    assert machine.run() == 1000 * NS + 2 + (10 + 50 + 1) * NS


def test_a_writer_waits_for_the_farthest_copy(costs: CostTable) -> None:
    cell = Cell(Object("o"), "x")
    machine = Machine(6, costs=costs)
    for cpu in (0, 1, 5):
        machine.spawn(f"reader{cpu}", one(Load(cell)), cpu=cpu, start=cpu * 1000 * NS)
    machine.spawn("writer", one(Work("vm_exit"), FetchOr(cell, 1)), cpu=2, start=9600 * NS)
    assert machine.run() == (9600 + 400 + 200 + 6) * NS


def test_stores_do_not_stall_but_move_the_line(costs: CostTable) -> None:
    cell = Cell(Object("o"), "x")
    machine = Machine(3, costs=costs)
    machine.spawn("owner", one(Store(cell, 1)), cpu=0)
    writer = machine.spawn("writer", one(Store(cell, 2)), cpu=1, start=1000 * NS)
    machine.spawn("reader", one(Load(cell)), cpu=2, start=1010 * NS)
    assert machine.run() == (1050 + 50 + 1) * NS  # the line first has to arrive at the writer
    assert writer.ended == 1001 * NS
    assert writer.stall == 0


def test_what_was_fetched_long_ago_is_no_longer_cached(costs: CostTable) -> None:
    cells = [Cell(Object(f"o{i}"), 0) for i in range(3)]
    again = [*cells, cells[0]]
    plenty, little = Machine(1, costs=costs), Machine(1, costs=costs, cached=2)
    for machine in (plenty, little):
        machine.spawn("t", one(*(Load(c) for c in again)), cpu=0)
    assert plenty.run() == (3 * 101 + 1) * NS
    assert little.run() == 4 * 101 * NS


def sharers(line: Line) -> tuple[int, list[int]]:
    return line.sharers, [cpu for cpu, has in enumerate(line.copies) if has]


def test_who_shares_a_line() -> None:
    nobody = bytearray(130)
    line, other = (Line(Object("o"), "", nobody) for _ in range(2))
    for cpu in (3, 129, 3, 64):
        line.share(cpu)
    assert sharers(line) == (3, [3, 64, 129])
    assert sharers(other) == (0, [])
    line.own(64)
    assert (line.owner, *sharers(line)) == (64, 0, [])
    line.share(1)  # what was shared before is forgotten
    assert sharers(line) == (1, [1])
    assert not any(nobody)


def served(costs: CostTable, readers: list[int], last: type[Load] | type[FetchOr], *, one_socket: bool = False) -> str:
    """From where CPU 0 gets a line that CPUs of two sockets, three each, have read. one_socket: seeded fault, it takes all
    for its neighbours."""

    def transfers(*threads: tuple[int, Load | FetchOr]) -> dict[str, int]:
        machine = Machine(6, costs=costs)
        assert [cpu.socket for cpu in machine.cpus] == [0, 0, 0, 1, 1, 1]
        if one_socket:
            machine.cpus[0].socket_last = 5
        for n, (cpu, effect) in enumerate(threads):
            machine.spawn(f"t{n}", one(effect), cpu=cpu, start=n * 10_000 * NS)
        machine.run()
        return machine.transfers

    cell = Cell(Object("o"), "x", 0)
    reads = [(cpu, Load(cell)) for cpu in readers]
    effect = Load(cell) if last is Load else FetchOr(cell, 1)
    before, after = transfers(*reads), transfers(*reads, (0, effect))
    (where,) = (name for name, count in after.items() if count > before[name])
    return where


def test_a_reader_is_served_by_the_nearest_copy_and_a_writer_by_the_farthest(costs: CostTable) -> None:
    near, far, both = [1, 2], [3, 4], [1, 2, 4]
    assert [served(costs, readers, Load) for readers in (near, far, both)] == ["core", "socket", "core"]
    assert [served(costs, readers, FetchOr) for readers in (near, far, both)] == ["core", "socket", "socket"]
    assert served(costs, both, FetchOr, one_socket=True) == "core"
