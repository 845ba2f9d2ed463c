/// What tests of pictures look for in an SVG.
module SvgKit

open System.Xml.Linq

let svg (text: string) = XDocument.Parse text

let texts (document: XDocument) =
    document.Descendants()
    |> Seq.filter (fun element -> element.Name.LocalName = "text")
    |> Seq.map _.Value
    |> List.ofSeq

/// How often curves of a colour are drawn (their lines, not their sample in the legend, which is a line of two points).
let lines (document: XDocument) =
    document.Descendants()
    |> Seq.filter (fun element -> element.Name.LocalName = "polyline")
    |> Seq.map (fun element -> element.Attribute(XName.Get "points").Value.Trim().Split(' ').Length)
    |> Seq.filter (fun points -> points > 2)
    |> Seq.length
