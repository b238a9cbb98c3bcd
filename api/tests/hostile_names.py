"""Strings that have hurt somebody somewhere, put where a name belongs."""

from itertools import product

FORGED = '{"time": "now", "level": "INFO", "process": "forged", "action": "forged", "message": "forged"}'
MARK = "zq7canary"
"""Part of all that would be seen where it was run or written."""

UP = [
    "..",
    ".",
    "...",
    "....//",
    "..;",
    "%2e%2e",
    "%252e%252e",
    "%c0%ae%c0%ae",
    "\u2024\u2024",
    "\uff0e\uff0e",
    "..\x00",
    ". .",
]
SEPARATORS = ["/", "\\", "%2f", "%252f", "%5c", "\u2215", "\uff0f", "//"]
TARGETS = ["etc/passwd", "var/operator.token", f"{MARK}"]

TRAVERSAL = [
    *UP,
    *(f"{up}{separator}{target}" for up, separator, target in product(UP[:6], SEPARATORS, TARGETS)),
    *("/etc/passwd", "//etc/passwd", "C:\\windows\\win.ini", "\\\\host\\share", "file:///etc/passwd", "~root", "~/x"),
    *("rain/../rain", "rain/", "/rain", "./rain", "rain/.", "rain\\..\\rain", "rain%2f", "rain%00", "rain\x00", "\x00"),
    *("/proc/self/environ", "/dev/zero", "CON", "NUL", "aux.txt", "rain:stream", "rain.", "-rain", "--help", ".rain"),
]

MARKUP = [
    f"<script>alert('{MARK}')</script>",
    f"</script><script>{MARK}</script>",
    f"<img src=x onerror={MARK}>",
    f'"><svg onload={MARK}>',
    f"'-{MARK}-'",
    f"javascript:{MARK}",
    f"<a href=javascript:{MARK}>x</a>",
    f"{{{{{MARK}}}}}",
    f"${{{MARK}}}",
    f"#{{{MARK}}}",
    f"<%= {MARK} %>",
    f"[x](javascript:{MARK})",
    f"<!--{MARK}",
    f"]]>{MARK}",
    f"&lt;{MARK}&gt;",
    f"%3Cscript%3E{MARK}",
    f"\x3cscript\x3e{MARK}",
    f"<style>@import '{MARK}'",
]

COMMANDS = [
    *(
        "' or '1'='1",
        "'; drop table events; --",
        '"; drop table events; --',
        "1; select 1",
        "x' union select hash from events--",
    ),
    *(
        "rain'--",
        'rain"--',
        "%' like '%",
        "x'||(select 1)||'",
        "0x27",
        "1e309",
        "-1",
        "0",
        "1 ",
        "01",
        "+1",
        "9" * 400,
        "NaN",
    ),
    *(
        f"$(touch {MARK})",
        f"`touch {MARK}`",
        f"; touch {MARK}",
        f"| touch {MARK}",
        f"&& touch {MARK}",
        f"\ntouch {MARK}\n",
    ),
    *(
        "$HOME",
        "${IFS}",
        "%(x)s",
        "%s%s%s%n",
        "{0.__class__}",
        "{model}",
        "{{model}}",
        "%d" * 50,
        "\\u0000",
        "\\x00",
        "\\n",
    ),
    *(
        "__class__",
        "__proto__",
        "constructor",
        "None",
        "null",
        "undefined",
        "true",
        "[]",
        "{}",
        '{"$ne": 1}',
        "*",
        "?",
        "#",
        "&",
        ";",
    ),
]

LINES = [
    f"rain\n{FORGED}",
    f"rain\r\n{FORGED}",
    f"rain\r{FORGED}",
    f"rain\u2028{FORGED}",
    f"rain\u0085{FORGED}",
    f"rain\x0b{FORGED}",
    f"rain\x1b[2K\x1b[1A{FORGED}",
    f'rain", "level": "forged", "x": "{MARK}',
    f"rain\r\nSet-Cookie: {MARK}=1",
    f"rain\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{MARK}",
    f"rain%0d%0aSet-Cookie:%20{MARK}=1",
    "\x07\x08\x7f",
]

LETTERS = [
    *(
        "RAIN",
        "Rain",
        " rain",
        "rain ",
        "ra in",
        "\train",
        "rain\n",
        "r\u00e9in",
        "re\u0301in",
        "ｒａｉｎ",
        "rаin",
        "ra\u00adin",
    ),
    *(
        "\u202erain",
        "rain\u202e",
        "\u200brain",
        "\ufeffrain",
        "ra\u2060in",
        "🌧",
        "\U0001f468\u200d\U0001f469",
        "İ",
        "ß",
        "ﬁ",
        "Ⅷ",
    ),
    *(
        "\ud800",
        "rain\udfff",
        "\udc80\udcff",
        "\ud83d",
        "\uffff",
        "\U0010ffff",
        "\ue000",
        "a\u0300" * 200,
        "\ufdfa" * 20,
        "٣",
        "१",
    ),
    *(
        "x" * 49,
        "x" * 65,
        "x" * 4096,
        "\u00e9" * 2000,
        "a" * 10_000,
        "",
        "_",
        "-",
        "--",
        "_rain",
        "rain!",
        "rain,rain",
        "rain;rain",
    ),
    *("rain+rain", "rain=rain", "rain@rain", "rain:1", "rain|1", "rain~1", "(rain)", "<rain>", "'rain'", '"rain"'),
]

NAMES = sorted({*TRAVERSAL, *MARKUP, *COMMANDS, *LINES, *LETTERS})
