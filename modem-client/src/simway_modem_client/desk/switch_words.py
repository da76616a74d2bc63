"""What a switch by hand is about, and what became of it, in lines for people. Pure."""

from __future__ import annotations

from typing import Any

from simway_protocol.messages import Profile

from simway_modem_client.desk.plan import Plan
from simway_modem_client.desk.switch import Outcome
from simway_modem_client.desk.words import name_of


def plan_lines(plan: Plan) -> list[str]:
    """From where, to where, and which ways lead back."""
    return [
        f"from     {name_of(_plain(plan.previous)) if plan.previous else 'no profile'}",
        f"to       {name_of(_plain(plan.target))}, {plan.target.profile_class}",
        f"way back {', then '.join(plan.ways_back) or 'none'}",
    ]


def outcome_line(outcome: Outcome, plan: Plan) -> str:
    """Where the card stands in the end, and why."""
    why = f" ({outcome.cause.replace('_', ' ')})" if outcome.cause else ""
    match outcome.result:
        case "switched":
            return f"done     {name_of(_plain(plan.target))} is enabled{why}; proof: card-only"
        case "unchanged":
            return f"failed   the card stayed with {outcome.active}{why}"
        case "returned":
            return f"failed   the card went back to {outcome.active}{why}"
        case _:
            here = f"shows {outcome.active}" if outcome.active else "cannot be read, or has no profile enabled"
            return f"stuck    the card {here}{why}; see it with: simway-modem sim profiles, then switch again"


def _plain(profile: Profile) -> dict[str, Any]:
    return {name: getattr(profile, name) for name in profile.__struct_fields__}
