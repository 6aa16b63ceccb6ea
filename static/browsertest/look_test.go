package browsertest

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	cdpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// look sets the size of the window and what the visitor prefers.
func (p *page) look(width, height int64, scheme string) {
	p.t.Helper()
	p.do(chromedp.EmulateViewport(width, height))
	command(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme},
		{Name: "prefers-reduced-motion", Value: "reduce"},
	}})
}

// What a screen reader is given: the landmarks, one heading of the first level, a
// name for all that can be operated, and live regions.
func TestAccessibilityTree(t *testing.T) {
	p := open(t, serve(t, 8).url)
	p.click("try-foreign") // which adds a command with its button
	p.mayLog = []string{wsFailed}
	p.waitText("foreign-result", "refused")
	p.waitFor(`document.querySelector("#foreign-curl button").checkVisibility()`)

	tree := command(p, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	names := make(map[string][]string) // by role
	for _, node := range tree.Nodes {
		if !node.Ignored && node.Role != nil {
			role := strings.Trim(string(node.Role.Value), `"`)
			name := ""
			if node.Name != nil {
				name = strings.Trim(string(node.Name.Value), `"`)
			}
			names[role] = append(names[role], name)
		}
	}
	for _, role := range []string{"button", "textbox", "spinbutton", "link", "heading", "region", "article", "log"} {
		for _, name := range names[role] {
			if name == "" {
				t.Errorf("a %s has no name", role)
			}
		}
	}
	for role, want := range map[string]int{"main": 1, "banner": 1, "log": 1, "alert": 1, "textbox": 1, "spinbutton": 1, "article": 10} {
		if got := len(names[role]); got != want {
			t.Errorf("%d elements with the role %s, want %d", got, role, want)
		}
	}
	for _, name := range []string{"Connection", "Messages", "Laboratory"} {
		if !slices.Contains(names["region"], name) {
			t.Errorf("no region is called %q: %q", name, names["region"])
		}
	}
	if !slices.Contains(names["button"], "Copy: the same with curl") {
		t.Errorf("the buttons are %q", names["button"])
	}
	levels := eval[[]int](p, `[...document.querySelectorAll("h1,h2,h3")].map((h) => Number(h.localName[1]))`)
	for i, level := range levels {
		if (i == 0) != (level == 1) || i > 0 && level > levels[i-1]+1 {
			t.Errorf("the levels of the headings are %v: heading %d is out of order", levels, i+1)
		}
	}
	if twice := eval[[]string](p, `[...document.querySelectorAll("[id]")].map((e) => e.id).filter((id, i, all) => all.indexOf(id) !== i)`); len(twice) > 0 {
		t.Errorf("ids that are there twice: %q", twice)
	}
}

// The tab key reaches all that can be operated, and shows where it is.
func TestKeyboard(t *testing.T) {
	server := serve(t, 8)
	for _, width := range []int64{390, 1280} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			p := newPage(t)
			p.look(width, 844, "light")
			tabThrough(t, p.open(server.url))
		})
	}
}

func tabThrough(t *testing.T, p *page) {
	t.Helper()
	want := eval[[]string](p, `[...document.querySelectorAll("button, input, [tabindex]")].filter((e) => e.checkVisibility()).map((e, i) => { e.dataset.stop = i; return String(i); })`)
	eval[bool](p, `(document.activeElement.blur(), true)`)
	var got []string
	for range want {
		p.do(chromedp.KeyEvent("\t"))
		got = append(got, eval[string](p, `document.activeElement.dataset.stop ?? "nothing"`))
		if style := eval[string](p, `getComputedStyle(document.activeElement).outlineStyle`); style != "solid" {
			t.Errorf("the focus on element %s has the outline %q", got[len(got)-1], style)
		}
		if cut := eval[[]string](p, ringed); len(cut) > 0 {
			t.Errorf("the ring around element %s cuts through %q", got[len(got)-1], cut)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the tab key goes to %v, want %v", got, want)
	}
}

// contrast returns each text on the page whose colour has too little contrast
// with what is behind it: WCAG 2 AA wants 4.5 to 1.
const contrast = `(() => {
	const parse = (color) => color.match(/[\d.]+/g).map(Number);
	const luminance = ([r, g, b]) => {
		const linear = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
		return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
	};
	const poor = [];
	let seen = 0;
	for (const e of document.querySelectorAll("body, body *")) {
		const text = e.localName === "input" ? "an input" : [...e.childNodes].filter((n) => n.nodeType === Node.TEXT_NODE).map((n) => n.data).join("").trim();
		if (!text || !e.checkVisibility() || e.classList.contains("visually-hidden") || e.localName === "noscript") continue;
		let behind = e;
		while (behind && (parse(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) behind = behind.parentElement;
		const [a, b] = [getComputedStyle(e).color, getComputedStyle(behind).backgroundColor].map((c) => luminance(parse(c)));
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		seen++;
		if (ratio < 4.5) poor.push(ratio.toFixed(2) + ": " + text.slice(0, 40));
	}
	return seen < 50 ? ["only " + seen + " texts seen"] : poor;
})()`

// brokenWords returns the words of the commands that take more than one line.
const brokenWords = `[...document.querySelectorAll(".command span")].filter((e) => e.offsetHeight > 1.5 * parseFloat(getComputedStyle(e).lineHeight)).map((e) => e.textContent)`

// Contrast, width, commands and motion, in light and dark, from phone to wide screen.
func TestLooks(t *testing.T) {
	server := serve(t, 8)
	p := open(t, server.url, wsFailed, serverGone)
	p.write("a message")
	p.waitMessage("own", "a message")
	p.click("try-foreign")
	p.waitText("foreign-result", "refused")
	check := func(state string) {
		for _, width := range []int64{320, 390, 768, 1280, 2560} {
			for _, scheme := range []string{"light", "dark"} {
				p.look(width, 844, scheme)
				if poor := eval[[]string](p, contrast); len(poor) > 0 {
					t.Errorf("%s, %d pixels, %s: too little contrast: %q", state, width, scheme, poor)
				}
				if wide := eval[int](p, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
					t.Errorf("%s, %d pixels: the page is %d pixels too wide", state, width, wide)
				}
				if broken := eval[[]string](p, brokenWords); width >= 390 && len(broken) > 0 {
					t.Errorf("%s, %d pixels: commands break within the words %q", state, width, broken)
				}
				if moving := eval[int](p, `document.getAnimations().length`); moving > 0 {
					t.Errorf("%s: %d animations for somebody who wants none", state, moving)
				}
			}
		}
	}
	check("open")
	server.kill()
	p.waitText("close-name", "1006")
	p.waitText("failed-name", "no answer")
	p.write("waits")
	p.waitMessage("waiting", "waits")
	check("closed")
}

// Where one writes stays in view, and where it is, whatever the connection does. On
// a screen of 800 lines the panel shows its time line, also when all else is told.
func TestLayout(t *testing.T) {
	for _, size := range [][2]int64{{390, 844}, {1280, 800}} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			server := serve(t, 5)
			p := newPage(t, serverGone)
			p.look(size[0], size[1], "light")
			p.open(server.url)
			bottom := func(id string) float64 {
				return eval[float64](p, fmt.Sprintf("document.getElementById(%q).getBoundingClientRect().bottom", id))
			}
			before := bottom("text")
			if figures := bottom("figures"); before > float64(size[1]) || size[0] < 500 && before > figures {
				t.Errorf("the field for a message ends at line %.0f of %d, the figures at %.0f", before, size[1], figures)
			}
			server.kill()
			p.waitText("failed-name", "no answer")
			p.waitText("close-words", "The connection broke")
			p.waitFor(`document.getElementById("timeline").scrollHeight > document.getElementById("timeline").clientHeight`)
			if after := bottom("text"); after != before {
				t.Errorf("the field for a message was at line %.0f, and is at %.0f with the server down", before, after)
			}
			if timeline := bottom("timeline"); size[0] > 1000 && timeline > float64(size[1]) {
				t.Errorf("the time line ends at line %.0f of %d", timeline, size[1])
			}
		})
	}
}

// ringed returns the texts that the ring around the focused element cuts through.
const ringed = `(() => {
	const focused = document.activeElement;
	const { outlineWidth, outlineOffset } = getComputedStyle(focused);
	const room = parseFloat(outlineWidth) + parseFloat(outlineOffset);
	const ring = focused.getBoundingClientRect();
	const cut = [];
	for (const e of document.querySelectorAll("label, h1, h2, h3, p, dt, dd, button, pre span")) {
		if (!e.checkVisibility() || e.contains(focused) || focused.contains(e) || e.classList.contains("visually-hidden")) continue;
		if (e.closest("header")) continue; // on a phone it stays above what scrolls
		const range = document.createRange();
		range.selectNodeContents(e);
		for (const r of range.getClientRects()) {
			if (r.width && r.left < ring.right + room && r.right > ring.left - room && r.top < ring.bottom + room && r.bottom > ring.top - room) {
				cut.push(e.textContent.trim().slice(0, 40));
				break;
			}
		}
	}
	return cut;
})()`

// Ten thousand messages stay smooth, for the list is bounded. The times are only
// told: they depend on the machine.
func TestTenThousandMessages(t *testing.T) {
	server := serve(t, 9, "-message-rate", "0") // whose queue has room for all of them
	p := open(t, server.url)
	paint := eval[float64](p, `performance.getEntriesByName("first-contentful-paint")[0].startTime`)
	idle := eval[[]float64](p, `new Promise((done) => {
		const frames = [];
		let last = performance.now();
		requestAnimationFrame(function frame(now) {
			frames.push(now - last);
			last = now;
			if (frames.length < 60) requestAnimationFrame(frame); else done(frames);
		});
	})`)
	busy := eval[[]float64](p, fmt.Sprintf(`new Promise((done) => {
		const frames = [];
		let last = performance.now();
		requestAnimationFrame(function frame(now) {
			frames.push(now - last);
			last = now;
			if (back < 10000) requestAnimationFrame(frame); else { other.close(); done(frames); }
		});
		let sent = 0, back = 0;
		const other = new WebSocket(%q);
		const fill = () => { while (sent < 10000 && sent - back < 60) other.send("message " + ++sent + " of 10000"); };
		other.onopen = fill;
		other.onmessage = () => { back++; fill(); };
	})`, server.webSocket()))
	p.waitMessage("received", "message 10000 of 10000")
	if n := eval[int](p, `document.getElementById("log").childElementCount`); n != 500 {
		t.Errorf("the list has %d entries, want the last 500", n)
	}
	if below := eval[float64](p, `(({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight)(document.getElementById("log"))`); below > 1 {
		t.Errorf("the list does not show its end: %.0f pixels are below", below)
	}
	times := func(frames []float64) string {
		slices.Sort(frames)
		at := func(share float64) float64 { return frames[int(share*float64(len(frames)-1))] }
		return fmt.Sprintf("%d frames: median %.0f ms, 95%% within %.0f ms, 99%% within %.0f ms, longest %.0f ms", len(frames), at(0.5), at(0.95), at(0.99), at(1))
	}
	t.Logf("first contentful paint after %.0f ms", paint)
	t.Logf("without messages, %s", times(idle))
	t.Logf("with 10,000 messages, %s", times(busy))
}

// With -update, the pictures in docs/img are taken anew. That of step 5 shows a
// minute of silence, and takes one.
func TestScreenshots(t *testing.T) {
	if !*update {
		t.Skip("only with -update")
	}
	scenes := []struct {
		step           int
		desktop, phone cut
		mayLog         string
		play           func(t *testing.T, server *process, p *page)
	}{
		{1, cut{"body", ".messages"}, cut{"body", ".messages"}, wsFailed, func(t *testing.T, server *process, p *page) {
			p.write("Is anybody there?")
			p.waitMessage("own", "Is anybody there?")
			p.waitText("received", "1 message,")
			p.waitText("online", "from step 3 on")
		}},
		{4, cut{"body", ".messages"}, cut{"body", ".messages"}, wsFailed, func(t *testing.T, server *process, p *page) {
			other := open(t, server.url)
			p.write("Good morning!")
			other.waitMessage("received", "Good morning!")
			other.write("Good morning to you. I can read this now.")
			p.waitMessage("received", "Good morning to you. I can read this now.")
			p.click("add-10")
			p.waitText("peers-result", "10 open")
			p.write("And all of you?")
			p.waitText("peers-result", "10 messages received")
			p.waitText("online", "12")
		}},
		{5, cut{"#silence", "#boom"}, cut{"body", ".connection"}, wsFailed, func(t *testing.T, server *process, p *page) {
			run(t, programs[0], "peer", "-vanish")
			p.waitText("online", "2")
			p.waitText("quiet", "none for 40 s")
			server.waitFor(regexp.MustCompile("i/o timeout"))
			p.waitText("online", "1")
		}},
		{8, cut{"#peers", "#silence"}, cut{"#peers", "#burst"}, wsFailed, func(t *testing.T, server *process, p *page) {
			p.click("add-100")
			p.waitText("peers-result", "81 refused")
			p.click("send-many")
			p.waitMessage("own", "quick 100 of 100")
			p.waitText("peers-result", "1900 messages received")
			p.waitText("online", "20")
		}},
	}
	folder := filepath.Join("..", "..", "docs", "img")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, scene := range scenes {
		t.Run(programs[scene.step], func(t *testing.T) {
			server := serve(t, scene.step, "-addr", "127.0.0.1:8080")
			p := open(t, server.url, scene.mayLog)
			p.look(1280, 844, "light")
			scene.play(t, server, p)
			eval[bool](p, `(document.activeElement.blur(), true)`)
			for _, size := range []struct {
				name  string
				width int64
				cut   cut
			}{{"desktop", 1280, scene.desktop}, {"phone", 390, scene.phone}} {
				for _, scheme := range []string{"light", "dark"} {
					p.look(size.width, 844, scheme)
					name := fmt.Sprintf("%s-%s-%s.png", programs[scene.step], size.name, scheme)
					if err := os.WriteFile(filepath.Join(folder, name), small(t, p.picture(size.cut)), 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// cut is a part of the page over its whole width: from the top of one element to
// the bottom of another.
type cut struct{ from, to string }

// picture scrolls to a part of the page and returns a picture of it, as a PNG. No
// element in it is cut off: the panel that stays in view beside the laboratory is
// whole, too.
func (p *page) picture(c cut) []byte {
	p.t.Helper()
	clip := eval[cdpage.Viewport](p, fmt.Sprintf(`(() => {
		const header = document.querySelector("header"); // on a phone it stays on top
		const margin = parseFloat(getComputedStyle(document.body).paddingTop) + (getComputedStyle(header).position === "sticky" ? header.offsetHeight : 0);
		scrollTo(0, scrollY + document.querySelector(%q).getBoundingClientRect().top - margin);
		const top = document.querySelector(%q).getBoundingClientRect().top;
		const bottoms = [%q, ".connection"].map((e) => document.querySelector(e).getBoundingClientRect().bottom);
		const y = Math.max(0, scrollY + top - margin);
		return { x: 0, y, width: innerWidth, height: scrollY + Math.max(...bottoms) + margin - y, scale: 1 };
	})()`, c.from, c.from, c.to))
	beyond := true
	return command(p, cdpage.CaptureScreenshot, cdpage.CaptureScreenshotParams{Clip: &clip, CaptureBeyondViewport: &beyond}).Data
}

// small returns a PNG with at most 256 colours: the most frequent ones, each
// clearly different from those before it.
func small(t *testing.T, data []byte) []byte {
	t.Helper()
	picture, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	bounds := picture.Bounds()
	count := make(map[color.RGBA]int)
	for y := range bounds.Dy() {
		for x := range bounds.Dx() {
			count[color.RGBAModel.Convert(picture.At(x, y)).(color.RGBA)]++
		}
	}
	var palette color.Palette
	for _, c := range slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int { return count[b] - count[a] }) {
		if len(palette) < 256 && (len(palette) < 8 || !alike(c, palette[palette.Index(c)].(color.RGBA))) {
			palette = append(palette, c)
		}
	}
	few := image.NewPaletted(bounds, palette)
	draw.Draw(few, bounds, picture, bounds.Min, draw.Src)
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&out, few); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func alike(a, b color.RGBA) bool {
	r, g, bl := int(a.R)-int(b.R), int(a.G)-int(b.G), int(a.B)-int(b.B)
	return r*r+g*g+bl*bl < 200
}
