"""What a walk says by itself, in each language, and where it must say that modes differ."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from l4lab.guide import Section, Step

# What guides call what is IPVS's alone. Rows of a database and of other tables are none of these.
_OF_IPVS: Final = re.compile(
    r"ipvs|ipv4\.vs\.|\bipset\b|\brr\b|\bConns\b|\bMasq\b|`persistent|\bSYN_RECV\b"
    r"|\brows?\b(?! written)|(?<!table )\bin turn\b"
    r"|[这那该各有]一?行|(?<!写入)的行|轮流",
    re.IGNORECASE,
)


def of_ipvs(step: Step, section: Section, mode: str) -> bool:
    """Whether a step speaks of IPVS by its words or its commands, and another mode runs."""
    if mode == "ipvs":
        return False
    left_out = any(not command.fits(mode) for command in step.commands())
    return left_out or _OF_IPVS.search(section.words) is not None


@dataclass(frozen=True, kw_only=True)
class Words:
    """What the walk itself says, in one language."""

    not_deployed: str
    ask_deploy: str
    by_hand: str
    ask_run: str
    ask_exercise: str
    ask_red: str
    ask_failed: str
    differs: str
    not_yet: str
    resume: str
    green: str
    red: str
    other_mode: str
    of_ipvs: str
    """Before the words of a step that speak of IPVS, where another mode runs."""


WORDS = {
    "en": Words(
        not_deployed="Lab {lab} is not deployed.",
        ask_deploy="Enter: deploy it   k: I make it with kubectl, by hand   q: quit",
        by_hand="Make the lab's objects with ./l4lab kubectl in another shell.",
        ask_run="Enter: run them here   s: skip, or I have typed them myself   q: quit",
        ask_exercise="{ids}: changes the lab and puts it back.   Enter: do it   s: skip   q: quit",
        ask_red="Enter: check again   w: wait until green   s: go on   q: quit",
        ask_failed="Enter: do it again   s: go on   q: quit",
        differs="Not as the guide says: {what}.",
        not_yet="Not there yet; again.",
        resume="Go on with: ./l4lab lab {lab} --from {step}",
        green="The walk is over: all that was checked is green.",
        red="The walk is over; red at the last look: {ids}",
        other_mode="kube-proxy runs in mode {mode} here: commands that ask IPVS are left out, and "
        "the checks are those of this mode. docs/proxy-modes.md shows both side by side.",
        of_ipvs="Mode {mode}: what this step says of IPVS (rows, counters, turns, kube-ipvs0) is "
        "so in mode ipvs alone.",
    ),
    "zh": Words(
        not_deployed="实验 {lab} 还没有部署。",
        ask_deploy="回车：部署   k：我用 kubectl 手工创建   q：退出",
        by_hand="请在另一个 shell 里用 ./l4lab kubectl 创建本实验的对象。",
        ask_run="回车：在这里运行   s：跳过，或我已自己输入   q：退出",
        ask_exercise="{ids}：会改变实验，然后恢复原状。   回车：执行   s：跳过   q：退出",
        ask_red="回车：再检查一次   w：等到变绿   s：继续   q：退出",
        ask_failed="回车：再做一次   s：继续   q：退出",
        differs="与实验指导不符：{what}。",
        not_yet="还没有跟上，再看一次。",
        resume="继续请运行：./l4lab lab {lab} --from {step}",
        green="全部步骤结束：检查过的都是绿的。",
        red="全部步骤结束；最后一次检查仍为红的：{ids}",
        other_mode="这里的 kube-proxy 运行在 {mode} 模式：略去查询 IPVS 的命令，"
        "检查也换成该模式的检查。对照见 docs/proxy-modes.md。",
        of_ipvs="{mode} 模式：本步骤中关于 IPVS 的说明（表项、计数器、轮流、kube-ipvs0）"
        "只适用于 ipvs 模式。",
    ),
}
