"""Two whole systems on one database: work is shared, nothing happens twice, either may leave."""

from contextlib import AsyncExitStack
from pathlib import Path

from faults.dag.verdict import Verdict, judge
from tests.acceptance.product import VENDOR, blueprint, highest_use, product
from tests.support.vendors.server import VendorServer


async def test_two_systems_share_the_work_do_nothing_twice_and_one_goes_on_alone(
    database: str, tmp_path: Path, loopback: str
) -> None:
    first, last = [f"first{number}" for number in range(6)], [f"last{number}" for number in range(6)]
    agents = {
        **{name: {} for name in first},
        "gate": {"depends_on": first, "checkpoint": {"title": "Go on?"}},
        **{name: {"depends_on": ["gate"]} for name in last},
        "end": {"depends_on": last},
    }
    with VendorServer() as vendor:
        vendor.behave(delay=0.2, times=-1)
        async with AsyncExitStack() as leaving:
            here = {
                "database": database,
                "folder": tmp_path,
                "vendor": vendor,
                "worker_slots": 2,
                "worker_name": "same",
            }
            one = await leaving.enter_async_context(product(**here))
            async with product(**here, project=one.project) as two:
                await one.create(blueprint(agents, defaults=VENDOR), budget="0.02")
                await one.start()
                asked = (await two.came("checkpoint.requested"))[0]
                workers = {each.payload()["worker"] for each in await two.log("llm_job.admitted")}
                assert len(workers) == 2, "both work, and are told apart although somebody gave them the same name"
                await leaving.aclose()
                await two.decide(asked, "approve")
                await two.ended("completed")
                log = await two.log()
        verdict = Verdict()
        judge(verdict, log, [])
        assert verdict.clean, "\n".join(verdict.lines())
        assert highest_use(log, two.budget_id) <= 0
        ids = [each["attempt_id"] for each in vendor.entries()]
        assert len(set(ids)) == len(ids) == len(agents)
