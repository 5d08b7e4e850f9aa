"""Routes for those who watch the process: is it alive, can it work, what does it measure, what does it offer."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from api.answers import shown
from api.consuming import duty_alarm, duty_told
from api.measuring import measure
from api.metrics import CONTENT_TYPE
from api.permissions import anybody, may
from api.reference import page
from api.relaying import alarm, told
from api.routing import router_of
from api.visiting import services_of
from domain.errors import Unavailable

router = router_of("system")
PATIENCE_SECONDS = 2.0


@router.get("/health", dependencies=[anybody()])
async def get_health() -> Response:
    """The process answers. Nothing is asked of anything else."""
    return shown({"status": "ok"})


@router.get("/ready", dependencies=[anybody()])
async def get_ready(request: Request) -> Response:
    """The process can work: the log answers, commands are taken, read models are there. 503 until then.

    A relay that cannot relay is told, and makes nobody else unready: the API goes on without Kafka. Only a process that
    is there to relay and for nothing else is not ready then. So it is with whoever else works with Kafka here.
    """
    services = services_of(request)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            standings = await services.read_models.standings()
    except TimeoutError as late:
        raise Unavailable("the database does not answer in time", code="not_ready") from late
    built = [each.projection for each in standings if each.position == 0 < each.head or each.state == "building"]
    only_relays = set(services.roles) == {"relay"}
    if built and not only_relays:
        raise Unavailable(f"read models are being built: {', '.join(sorted(built))}", code="not_ready", retry_after=2)
    duties = {name: duty_told(duty) for name, duty in services.duties.items()}
    degraded = any(duty_alarm(duty) for duty in services.duties.values())
    if (relay := services.relay) is not None:
        ringing = alarm(relay)
        if only_relays and ringing:
            raise Unavailable(ringing["text"], code=ringing["code"], retry_after=2)
        if only_relays and relay.phase not in ("relaying", "standby"):
            raise Unavailable(f"the relay is {relay.phase}", code="not_ready", retry_after=2)
        head = max((each.head for each in standings), default=0)
        duties, degraded = {"relay": told(relay, head), **duties}, degraded or ringing is not None
    return shown({"status": "degraded" if degraded else "ready", **duties})


@router.get("/metrics", dependencies=[may("system.read")], response_class=Response)
async def get_metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    await measure(services_of(request), request.app.state.tail)
    return Response(services_of(request).metrics.text(), media_type=CONTENT_TYPE)


@router.get("/openapi.json", dependencies=[anybody()], include_in_schema=False)
async def get_openapi_document(request: Request) -> Response:
    """This document."""
    return shown(request.app.openapi())


@router.get("/docs", dependencies=[anybody()], include_in_schema=False)
async def get_docs(request: Request) -> Response:
    """The same, for people."""
    return Response(page(request.app.openapi()), media_type="text/html; charset=utf-8")
