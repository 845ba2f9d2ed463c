/// Pictures of the command: SVG and charts of characters.
module PictureTests

open System
open System.Xml.Linq
open Expecto
open Optim
open Optim.Cli.Pictures
open Optim.Cli.Training
open Optim.Core
open Kit
open SvgKit

let private curve name identity (ys: float list) =
    Curve(name, [| for i, y in List.indexed ys -> struct (float i, y) |], identity)

let private picture (panels: Panel list) =
    Picture("A title", "step", ResizeArray panels)

let private drawing =
    [
        testCase "an SVG has title, axes, and every curve once in each panel and once in the legend" (fun () ->
            for count in [ 1; 2; 8; 20 ] do
                let names = List.init count (fun i -> $"curve {i} <&>")

                let curves =
                    names |> List.mapi (fun i name -> curve name i [ 1.0; 3.0; 2.0; float i ])

                let document =
                    Svg.Of(picture [ Panel("loss", ResizeArray curves); Panel("accuracy (%)", ResizeArray curves) ])
                    |> svg

                let found = texts document

                for text in [ "A title"; "step"; "loss"; "accuracy (%)" ] do
                    Expect.equal (found |> List.filter ((=) text)) [ text ] text

                for name in names do
                    Expect.equal (found |> List.filter ((=) name) |> List.length) (if count > 1 then 1 else 0) $"{name} in the legend"

                Expect.equal (lines document) (2 * count) "lines")

        testCase "no text begins left of the picture or above it, and none ends right of it or below" (fun () ->
            let long = String('w', 60)
            let curves = [ curve long 0 [ 1e-6; 1e-7 ]; curve $"{long}2" 1 [ 0.0; 2e-6 ] ]
            let document = Svg.Of(picture [ Panel("learning rate", ResizeArray curves) ]) |> svg

            let size (name: string) =
                float ((nonNull document.Root).Attribute(XName.Get name))

            for element in
                document.Descendants()
                |> Seq.filter (fun element -> element.Name.LocalName = "text") do
                let transform = element.Attribute(XName.Get "transform").Value
                let inside = transform.Substring(transform.IndexOf('(') + 1).Split([| ','; ')' |])
                let x, y = float inside[0], float inside[1]
                Expect.isTrue (x >= 0.0 && y >= 0.0 && x <= size "width" && y <= size "height") $"{element.Value} at {x}, {y}"
            // The longest name: letters as wide as those of usual fonts.
            Expect.isTrue (60.0 * 13.0 * 0.62 < size "width") "room for a long name")

        testCase "the last line of a legend has room below it, and a picture that is shown smaller is not cut off" (fun () ->
            for count in [ 1; 2; 3; 7; 20 ] do
                let curves = List.init count (fun i -> curve $"curve {i}" i [ 1.0; 2.0 ])

                let root =
                    nonNull (svg (Svg.Of(picture [ Panel("loss", ResizeArray curves) ]))).Root

                let attribute (name: string) = root.Attribute(XName.Get name).Value

                Expect.equal
                    (attribute "viewBox")
                    $"""0 0 {attribute "width"} {attribute "height"}"""
                    "all of it is seen, whatever size it is shown in"

                for element in
                    root.Descendants()
                    |> Seq.filter (fun element -> element.Name.LocalName = "text" && element.Value.StartsWith "curve ") do
                    let transform = element.Attribute(XName.Get "transform").Value
                    let y = float (transform.Split([| ','; ')' |])[1])
                    Expect.isLessThanOrEqual (y + 24.0) (float (attribute "height")) $"{element.Value} of {count}")

        testCase "one point, no point, constants, gaps and tiny numbers are drawn" (fun () ->
            for ys in
                [
                    []
                    [ 1.0 ]
                    [ nan ]
                    [ 2.0; 2.0; 2.0 ]
                    [ 0.0; 0.0 ]
                    [ 1.0; nan; infinity; -infinity; 3.0 ]
                    [ 1e-6; 2e-6; 1.5e-6 ]
                    [ 1e-300; 1e300 ]
                    [ -1.0; 5.0 ]
                ] do
                for logarithmic in [ true; false ] do
                    let picture = picture [ Panel("loss", ResizeArray [ curve "a" 0 ys ], logarithmic) ]
                    let text = Svg.Of picture
                    Expect.isFalse (text.Contains "NaN" || text.Contains "Infinity" || text.Contains "∞") $"{ys}"
                    Expect.contains (texts (svg text)) "loss" "axis"

                    for braille in [ true; false ] do
                        let chart = TerminalChart.Draw(picture, 60, 7, braille)
                        Expect.equal chart.Count 10 "lines"

                        for line in chart do
                            let width = line |> Seq.sumBy (fun struct (text, _) -> text.Length)
                            Expect.isTrue (width <= 60) $"{width} columns")

        testCase "a chart of characters has a letter for each curve, at its place" (fun () ->
            let chart =
                TerminalChart.Draw(
                    picture
                        [
                            Panel("y", ResizeArray [ curve "up" 0 [ 0.0; 4.0 ]; curve "down" 1 [ 4.0; 4.0 ] ])
                        ],
                    3 + 8,
                    5,
                    false
                )
                |> Seq.map (fun line -> String.Concat(line |> Seq.map (fun struct (text, _) -> text)).TrimEnd())
                |> List.ofSeq

            Expect.equal
                chart
                [
                    "  y"
                    "4 ┤bbbbbbbb"
                    "  │     aa"
                    "2 ┤   aa"
                    "  │ aa"
                    "0 ┤a"
                    "  └────────"
                    "   0 step 1"
                ]
                "chart")

        testCase "with Braille a rising line fills the dots of its diagonal" (fun () ->
            let chart =
                TerminalChart.Draw(picture [ Panel("y", ResizeArray [ curve "up" 0 [ 0.0; 1.0 ] ]) ], 3 + 8, 3, true)

            let rows =
                [
                    for line in Seq.take 3 (Seq.skip 1 chart) ->
                        String.Concat(line |> Seq.skip 1 |> Seq.map (fun struct (text, _) -> text))
                ]

            let dots =
                rows
                |> List.sumBy (
                    Seq.filter (fun c -> c >= '\u2800')
                    >> Seq.sumBy (fun c -> Numerics.BitOperations.PopCount(uint c - 0x2800u))
                )

            Expect.equal dots 16 "a dot for each of 16 columns"

            Expect.isTrue
                (rows[2][0] = '⣀' || rows[2][0] = '⡠' || rows[2][0] = '⢀' || rows[2][0] = '⠤')
                $"begins at the lower left: {rows[2]}")

        testCase "labels of axes are short" (fun () ->
            let chart =
                TerminalChart.Draw(picture [ Panel("lr", ResizeArray [ curve "a" 0 [ 1e-6; 123456789.0 ] ]) ], 60, 5, true)

            let text =
                String.Concat(chart |> Seq.collect (Seq.map (fun struct (text, _) -> text)))

            Expect.stringContains text "1.23e8" "large"
            Expect.stringContains text "1e-6" "small")
    ]

[<Tests>]
let tests =
    testSequenced
    <| testList
        "pictures"
        [
            testList "drawing" drawing
            testList "schedule" ScheduleCommandTests.tests
            testList "race" RaceTests.tests
        ]
